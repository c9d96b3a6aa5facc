"""Scores beside the protocol's own have headings, and a note on what they are."""

import json
from pathlib import Path

from study.report.further_scores import BALANCED_NOTE, further_header, further_note
from study.results.study_results import read_results


def test_only_scores_that_were_measured_have_headings_and_notes(base_to_new_study: Path) -> None:
    results = read_results(base_to_new_study)
    assert further_header(results) == ("balanced %",)
    assert further_note(results) == BALANCED_NOTE
    for path in base_to_new_study.glob("trials/confirm-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        last = json.dumps(json.loads(last) | {"test_generalized": 0.5, "test_ausuc": 0.25})
        path.write_text("".join(line + "\n" for line in (*lines, last)))
    results = read_results(base_to_new_study)
    assert further_header(results) == ("balanced %", "H %", "AUSUC %")
    assert further_note(results) == f"{BALANCED_NOTE} {results.protocol.further_explanation}"
