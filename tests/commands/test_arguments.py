"""Arguments that several commands have."""

from argparse import ArgumentParser
from collections.abc import Callable

import pytest

from study.commands.run import add_arguments


@pytest.mark.parametrize("words", [["quickstart"], ["resume", "mine"]], ids=" ".join)
@pytest.mark.parametrize("option", ["--images", "--estimate"])
def test_what_belongs_to_a_check_is_refused_without_it(
    words: list[str], option: str, refused: Callable[..., str]
):
    assert f"{option} belongs to --check" in refused(*words, option)


def test_settings_and_options_may_stand_in_any_order():
    parser = ArgumentParser()
    add_arguments(parser)
    options = parser.parse_intermixed_args(["--check", "seed=2", "--estimate", "data.shots=1"])
    assert (options.check, options.estimate, options.json) == (True, True, False)
    assert options.words == ["seed=2", "data.shots=1"]
