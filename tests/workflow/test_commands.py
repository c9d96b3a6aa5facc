"""The words of the command run."""

import pytest

from study.commands import main


@pytest.mark.parametrize("option", ["--images", "--estimate"])
def test_what_belongs_to_a_check_is_refused_without_it(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quickstart", option]) == 2
    assert f"{option} belongs to --check" in capsys.readouterr().err
