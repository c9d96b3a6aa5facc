"""The command ``diff``."""

from pathlib import Path

import pytest

from study.commands import main
from tests.fake_studies import add_answer


@pytest.mark.parametrize(
    ("format", "first"), [("table", "best and clipfit-tuned on each class"), ("csv", "part,class,")]
)
def test_rows_are_compared_by_class_or_by_image(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str], format: str, first: str
) -> None:
    folder = add_answer(few_shot_study)
    words = [str(folder), "best", "clipfit-tuned", "--format", format]
    assert main(["diff", *words]) == 0
    assert capsys.readouterr().out.strip().startswith(first)
