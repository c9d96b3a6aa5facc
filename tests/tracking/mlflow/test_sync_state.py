"""A mark tells what has been sent of a trial, and whether that is still true of the trial."""

from pathlib import Path
from typing import Any

import pytest

from study.storage.trial_folder import End, TrialFolder
from study.tracking.mlflow.sync_state import Mark, TrialRecord
from tests.written_study import MakeStudy

REPORTS = [{"epoch": epoch, "val_score": 0.1 * epoch} for epoch in (1, 2, 3)]
END = End("finished", 3, 1.5)


def test_a_mark_is_read_as_it_was_written(make: MakeStudy):
    study = make("marked")
    folder = study.folder.trial(study.trial(0).trial_id)
    assert Mark.from_folder(folder, "") == Mark()
    mark = Mark(parent_id="p", run_id="r", name="trial 0", began=7)
    mark.record_sent(REPORTS, END)
    mark.write_to(folder)
    assert Mark.from_folder(folder, "p") == mark
    assert (mark.reports, mark.closed) == (3, True)


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"of_a_later_version": 1}', "\x00"])
def test_a_damaged_mark_is_as_good_as_none(make: MakeStudy, text: str):
    study = make("damaged-mark")
    folder = study.folder.trial(study.trial(0).trial_id)
    folder.write("mlflow.json", text.encode())
    assert Mark.from_folder(folder, "") == Mark()


@pytest.mark.parametrize(
    "sent, present, fits",
    [
        ((REPORTS[:2], None), (REPORTS[:2], None), True),
        ((REPORTS[:2], None), (REPORTS, END), True),
        ((REPORTS[:2], None), (REPORTS[:1], None), False),
        ((REPORTS[:2], None), ([REPORTS[0] | {"val_score": 0.9}, *REPORTS[1:]], END), False),
        ((REPORTS, END), (REPORTS, END), True),
        ((REPORTS, END), (REPORTS, None), False),  # it is trained again
        ((REPORTS, END), (REPORTS, End("stopped", 3, 1.5)), False),
    ],
)
def test_a_mark_fits_what_was_only_added_to(sent: Any, present: Any, fits: bool, tmp_path: Path):
    reports, end = present
    record = TrialRecord(TrialFolder(tmp_path), Mark(), end, reports)
    assert record.matches_mark, "nothing was sent"
    record.mark.record_sent(*sent)
    assert record.matches_mark == fits
