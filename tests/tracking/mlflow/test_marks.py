"""A mark tells what has been sent: nothing is sent twice, and what changed is sent anew."""

from pathlib import Path

import pytest
from written_study import EPOCHS, MakeStudy, history, runs, sync

from study.storage.ledger import End
from study.tracking.mlflow.marks import Mark
from study.tracking.mlflow.runs import RunWriter


@pytest.mark.parametrize("marks", ["kept", "lost"])
def test_sending_twice_doubles_nothing(mlflow_server: str, make: MakeStudy, marks: str) -> None:
    study = make(f"twice-{marks}")
    study.whole(0)
    study.whole(1, "stopped", 2)
    sync(study, mlflow_server)
    before = runs(mlflow_server, study)
    if marks == "lost":  # a driver died after sending and before it could mark that
        for mark in study.folder.path.glob("trials/*/mlflow.json"):
            mark.unlink()
    sync(study, mlflow_server)
    after = runs(mlflow_server, study)
    assert {t: run.info.run_id for t, run in after.items()} == {
        t: run.info.run_id for t, run in before.items()
    }
    assert {t: run.info.status for t, run in after.items()} == {
        t: run.info.status for t, run in before.items()
    }
    for key in ("val_score", "train_loss", "seconds", "trainable"):
        for trial in ("search-0000", "search-0001"):
            assert history(mlflow_server, after[trial], key) == history(
                mlflow_server, before[trial], key
            )
    assert len(history(mlflow_server, after["search-0000"])) == EPOCHS


def test_a_study_is_sent_whole_to_another_server(
    mlflow_server: str, make: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where a local store puts its artifacts
    study = make("moved")
    study.whole(0)
    sync(study, mlflow_server)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    sync(study, other)
    found = runs(other, study)
    assert found["search-0000"].info.status == "FINISHED"
    assert len(history(other, found["search-0000"])) == EPOCHS


def test_a_trial_that_was_damaged_and_is_trained_again_gets_another_run(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("damaged")
    study.whole(0)
    sync(study, mlflow_store)
    before = runs(mlflow_store, study)["search-0000"]
    assert before.info.status == "FINISHED"
    study.folder.trial("search-0000").reopen()
    writer = RunWriter(study.study, mlflow_store)
    writer.sync_trial("search-0000")
    assert runs(mlflow_store, study)["search-0000"].info.status == "RUNNING"
    study.whole(0, "failed", 1, error="Traceback\nValueError: boom")
    writer.sync_trial("search-0000")
    after = runs(mlflow_store, study)["search-0000"]
    assert after.info.run_id != before.info.run_id
    assert after.info.status == "FAILED"
    for key, value in {"epochs": 1, "seconds": 1.5, "val_score": 0.01}.items():
        assert [point for _, point in history(mlflow_store, after, key)] == [value]


def test_a_trial_that_was_trained_again_while_mlflow_was_away_has_its_later_results_alone(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("again-away")
    study.whole(0)
    sync(study, mlflow_store)
    study.folder.trial("search-0000").reopen()
    config = study.trial(0)
    study.report(config, 1, seconds=0.7)
    study.end(config, "stopped")
    sync(study, mlflow_store)
    run = runs(mlflow_store, study)["search-0000"]
    assert run.info.status == "KILLED"
    assert history(mlflow_store, run) == [(1, 0.01)]
    assert history(mlflow_store, run, "epochs") == [(0, 1)]


def test_an_unfinished_trial_that_begins_again_has_one_value_of_each_metric(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("begun-again")
    config = study.trial(0)
    for epoch in (1, 2):
        study.report(config, epoch)
    sync(study, mlflow_store)
    study.folder.trial(config.trial_id).keep_reports(0)
    for epoch in (1, 2):
        study.folder.trial(config.trial_id).append_report(
            {"epoch": epoch, "train_loss": 1.0, "val_score": 0.5, "seconds": 0.9}
        )
    sync(study, mlflow_store)
    study.report(config, 3)
    study.end(config)
    sync(study, mlflow_store)
    run = runs(mlflow_store, study)["search-0000"]
    assert history(mlflow_store, run) == [(1, 0.5), (2, 0.5), (3, 0.03)]
    assert len(history(mlflow_store, run, "seconds")) == 1


def test_epochs_that_a_damaged_state_cost_are_not_counted_twice(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("again")
    config = study.trial(0)
    for epoch in (1, 2):
        study.report(config, epoch)
    sync(study, mlflow_server)
    study.folder.trial(config.trial_id).keep_reports(0)
    study.report(config, 1, seconds=0.7)
    sync(study, mlflow_server)
    for epoch in (2, 3):
        study.report(config, epoch, seconds=0.7)
    study.end(config)
    sync(study, mlflow_server)
    points = history(mlflow_server, runs(mlflow_server, study)["search-0000"])
    assert [step for step, _ in points] == [1, 2, 3]


REPORTS = [{"epoch": epoch, "val_score": 0.1 * epoch} for epoch in (1, 2, 3)]
END = End("finished", 3, 1.5)


def test_a_mark_is_read_as_it_was_written(make: MakeStudy) -> None:
    study = make("marked")
    folder = study.folder.trial(study.trial(0).trial_id)
    assert Mark.read(folder, "") == Mark()
    mark = Mark(parent_id="p", run_id="r", trial_id="search-0000", began=7, winner=True)
    mark.note(REPORTS, END)
    mark.write(folder)
    assert Mark.read(folder, "p") == mark
    assert (mark.reports, mark.closed) == (3, True)


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"of_a_later_version": 1}', "\x00"])
def test_a_damaged_mark_is_as_good_as_none(make: MakeStudy, text: str) -> None:
    study = make("damaged-mark")
    folder = study.folder.trial(study.trial(0).trial_id)
    folder.write("mlflow.json", text)
    assert Mark.read(folder, "") == Mark()


def test_a_mark_fits_what_was_only_added_to() -> None:
    mark = Mark()
    mark.note(REPORTS[:2], None)
    assert mark.fits(REPORTS[:2], None)
    assert mark.fits(REPORTS, END)
    assert not mark.fits(REPORTS[:1], None)
    assert not mark.fits([REPORTS[0] | {"val_score": 0.9}, *REPORTS[1:]], END)


def test_a_mark_of_an_end_fits_that_end_alone() -> None:
    mark = Mark()
    mark.note(REPORTS, END)
    assert mark.fits(REPORTS, END)
    assert not mark.fits(REPORTS, None), "it is trained again"
    assert not mark.fits(REPORTS, End("stopped", 3, 1.5))


def test_a_mark_of_an_earlier_version_fits_whatever_has_not_been_opened_again() -> None:
    mark = Mark(reports=3, closed=True)
    assert mark.fits(REPORTS[:1], END)
    assert not mark.fits(REPORTS, None)
