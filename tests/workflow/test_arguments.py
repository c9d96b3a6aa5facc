"""Arguments that several commands have."""

import pytest

from study.commands import main


@pytest.mark.parametrize("words", [["quickstart"], ["resume", "mine"]], ids=" ".join)
@pytest.mark.parametrize("option", ["--images", "--estimate"])
def test_what_belongs_to_a_check_is_refused_without_it(
    words: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, option]) == 2
    assert f"{option} belongs to --check" in capsys.readouterr().err
