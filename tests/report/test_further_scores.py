"""Scores beside the protocol's own have headings, and a note; `told/` has those of names."""

from pathlib import Path

from study.report.further_scores import BALANCED_NOTE, further_header, further_note
from study.results.study_results import read_results


def test_only_scores_that_were_measured_have_headings_and_notes(base_to_new_study: Path):
    results = read_results(base_to_new_study)
    assert further_header(results) == ["balanced %"]
    assert further_note(results) == BALANCED_NOTE
