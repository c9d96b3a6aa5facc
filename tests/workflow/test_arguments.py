"""Arguments that several commands have."""

from collections.abc import Callable

import pytest


@pytest.mark.parametrize("words", [["quickstart"], ["resume", "mine"]], ids=" ".join)
@pytest.mark.parametrize("option", ["--images", "--estimate"])
def test_what_belongs_to_a_check_is_refused_without_it(
    words: list[str], option: str, refused: Callable[..., str]
):
    assert f"{option} belongs to --check" in refused(*words, option)
