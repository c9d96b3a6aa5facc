"""The description of a study begins with what won; `test_verdict.py` has whole ones."""

from pathlib import Path

from study.report.study_description import describe_study
from tests.changed_studies import board_of


def test_an_ablation_begins_with_its_verdict(ablation_study: Path):
    description = describe_study(board_of(ablation_study))
    assert "Beyond noise from “base”" in description.split("\n\n")[0]
