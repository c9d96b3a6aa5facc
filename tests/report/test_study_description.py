"""The description of a study begins with what won; `test_verdict.py` has whole ones."""

from pathlib import Path

from study.report.study_description import describe_study
from study.results.study_results import read_results
from tests.changed_studies import board_of


def test_an_ablation_begins_with_its_verdict(ablation_study: Path):
    description = describe_study(read_results(ablation_study), board_of(ablation_study))
    assert "Beyond noise from “base”" in description.split("\n\n")[0]
