"""A mark tells what has been sent of a trial, and whether that is still true of the trial."""

import pytest

from study.storage.trial_folder import End
from study.tracking.mlflow.sync_state import Mark
from tests.written_study import MakeStudy

REPORTS = [{"epoch": epoch, "val_score": 0.1 * epoch} for epoch in (1, 2, 3)]
END = End("finished", 3, 1.5)


def test_a_mark_is_read_as_it_was_written(make: MakeStudy) -> None:
    study = make("marked")
    folder = study.folder.trial(study.trial(0).trial_id)
    assert Mark.from_folder(folder, "") == Mark()
    mark = Mark(parent_id="p", run_id="r", trial_id="search-0000", began=7, winner=True)
    mark.record_sent(REPORTS, END)
    mark.write_to(folder)
    assert Mark.from_folder(folder, "p") == mark
    assert (mark.reports, mark.closed) == (3, True)


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"of_a_later_version": 1}', "\x00"])
def test_a_damaged_mark_is_as_good_as_none(make: MakeStudy, text: str) -> None:
    study = make("damaged-mark")
    folder = study.folder.trial(study.trial(0).trial_id)
    folder.write("mlflow.json", text)
    assert Mark.from_folder(folder, "") == Mark()


def test_a_mark_fits_what_was_only_added_to() -> None:
    mark = Mark()
    mark.record_sent(REPORTS[:2], None)
    assert mark.matches(REPORTS[:2], None)
    assert mark.matches(REPORTS, END)
    assert not mark.matches(REPORTS[:1], None)
    assert not mark.matches([REPORTS[0] | {"val_score": 0.9}, *REPORTS[1:]], END)


def test_a_mark_of_an_end_fits_that_end_alone() -> None:
    mark = Mark()
    mark.record_sent(REPORTS, END)
    assert mark.matches(REPORTS, END)
    assert not mark.matches(REPORTS, None), "it is trained again"
    assert not mark.matches(REPORTS, End("stopped", 3, 1.5))


def test_a_mark_of_which_nothing_was_sent_fits_whatever_there_is() -> None:
    assert Mark().matches([], None)
    assert Mark().matches(REPORTS, END)
