"""The run of a trial in MLflow: found, made, renamed, deleted and ended, in a real store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from study.storage.trial_folder import End
from study.tracking.mlflow.sender import Sender
from tests.written_study import MakeStudy, history, runs, sync

CONFIRMED, ASIDE = "confirm-best-seed1", "confirm-best-of-8-seed1"
"""A confirmation, and its name once an extended study has set its winner aside."""


def test_the_runs_that_validation_chose_say_so_in_their_names(mlflow_store: str, make: MakeStudy):
    study = make("starred")
    for number in range(2):
        study.whole(number)
    study.end(study.trial(2, trial_id=CONFIRMED, stage="confirm", label="best", arm="best"))

    def choose(trial_id: str, same_as: str | None = None) -> dict[str, str]:
        best = {"label": "best", "source_trial": trial_id, "same_as": same_as}
        study.folder.write_json("candidates.json", [best | {"settings": {"subset": "ln"}}])
        sync(study, mlflow_store)
        return {trial: run.info.run_name for trial, run in runs(mlflow_store, study).items()}

    assert choose("search-0000") == {
        **{"": "starred", "search-0000": "trial 0 ★", "search-0001": "trial 1"},
        CONFIRMED: "best ★ · seed 1",
    }
    # The search went on and found a better one, which a baseline is equal to.
    assert choose("search-0001", same_as="clipfit") == {
        **{"": "starred", "search-0000": "trial 0", "search-0001": "trial 1 ★"},
        CONFIRMED: "best · seed 1",
    }


def unheard(*_: Any, **__: Any):
    """What a connection that is cut does."""
    raise ConnectionError("the connection was cut")


def test_a_run_is_found_again_where_its_creation_was_not_heard_of(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
):
    study = make("unheard")
    sender = Sender(study.study, mlflow_store)
    study.whole(0)
    create = MlflowClient.create_run

    def create_and_be_cut_off(*arguments: Any, **options: Any):
        create(*arguments, **options)
        unheard()

    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, "create_run", create_and_be_cut_off)
        with pytest.raises(ConnectionError):
            sender.send_trial("search-0000")
    sender.send_trial("search-0000")
    assert runs(mlflow_store, study).keys() == {"", "search-0000"}


@pytest.fixture
def renamed(make: MakeStudy, tmp_path: Path, new_store: Callable[[Path], str]) -> Sender:
    """Has sent a confirmation that has been renamed since."""
    study = make("mine")
    config = study.trial(0, trial_id=CONFIRMED, stage="confirm", label="best", arm="best")
    trial = study.folder.trial(CONFIRMED)
    trial.append_report({"epoch": 1, "test_score": 0.5, "seconds": 1.0})
    study.end(config)
    sender = Sender(study.study, new_store(tmp_path))
    sender.send_trial(CONFIRMED)
    trial.rename(ASIDE, label="best-of-8")
    return sender


def confirmations(sender: Sender) -> list[Run]:
    client: MlflowClient = sender.client
    return list(client.search_runs([sender.study_run.experiment_id], "tags.stage = 'confirm'"))


def test_the_run_of_a_renamed_trial_follows_and_no_second_one_is_made(renamed: Sender):
    renamed.send_trial(CONFIRMED)  # under its old name, which is no fault
    (run,) = confirmations(renamed)
    assert run.info.run_name == "best · seed 1"
    renamed.send_trial(ASIDE)
    (run,) = confirmations(renamed)
    assert run.data.tags.items() >= {"trial_id": ASIDE, "label": "best-of-8"}.items()
    assert (run.info.run_name, run.info.status) == ("best-of-8 · seed 1", "FINISHED")
    assert run.data.metrics["test_score"] == 0.5


def test_the_next_of_its_name_leaves_the_run_of_a_renamed_trial_alone(renamed: Sender):
    (earlier,), folder = confirmations(renamed), renamed.study.folder
    trial = folder.trial(CONFIRMED)
    changes = {"trial_id": CONFIRMED, "label": "best", "settings": {"subset": "ln"}}
    trial.create(folder.trial(ASIDE).read_config() | changes)
    trial.append_report({"epoch": 1, "test_score": 0.75, "seconds": 1.0})
    trial.write_end(End("finished", 1, 1.0))
    renamed.send_trial(CONFIRMED)  # where the renamed one could not be sent yet
    renamed.send_trial(ASIDE)
    sent = {run.data.tags["trial_id"]: run for run in confirmations(renamed)}
    scores = {trial_id: run.data.metrics["test_score"] for trial_id, run in sent.items()}
    assert scores == {CONFIRMED: 0.75, ASIDE: 0.5}
    assert sent[ASIDE].info.run_id == earlier.info.run_id


def test_a_trial_that_was_damaged_and_is_trained_again_gets_another_run(
    mlflow_store: str, make: MakeStudy
):
    study = make("damaged")
    study.whole(0)
    sync(study, mlflow_store)
    before = runs(mlflow_store, study)["search-0000"]
    study.folder.trial("search-0000").reopen()
    sender = Sender(study.study, mlflow_store)
    sender.send_trial("search-0000")
    assert runs(mlflow_store, study)["search-0000"].info.status == "RUNNING"
    study.whole(0, "failed", 1, error="Traceback\nValueError: boom")
    sender.send_trial("search-0000")
    after = runs(mlflow_store, study)["search-0000"]
    assert after.info.run_id != before.info.run_id
    assert after.info.status == "FAILED"
    for key, value in {"epochs": 1, "seconds": 1.5, "val_score": 0.01}.items():
        assert [point for _, point in history(mlflow_store, after, key)] == [value]


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("ended", [True, False])
def test_what_was_sent_without_a_mark_is_not_mixed_with_a_later_training(
    mlflow_store: str, make: MakeStudy, marked: bool, ended: bool
):
    study = make(f"unmarked-{marked}-{ended}")
    config = study.trial(0)
    trial = study.folder.trial("search-0000")
    sync(study, mlflow_store)
    mark = (trial.path / "mlflow.json").read_bytes()
    for epoch in (1, 2):
        study.report(config, epoch, seconds=0.7)
    if ended:
        study.end(config, "finished")
    Sender(study.study, mlflow_store).send_trial("search-0000")
    if marked:  # the driver died before it wrote the present one
        (trial.path / "mlflow.json").write_bytes(mark)
    else:
        (trial.path / "mlflow.json").unlink()
    trial.reopen()
    sender = Sender(study.study, mlflow_store)
    for epoch in (1, 2):
        study.report(config, epoch, seconds=0.3)
        sender.send_trial("search-0000")
    run = runs(mlflow_store, study)["search-0000"]
    points = MlflowClient(mlflow_store).get_metric_history(run.info.run_id, "val_score")
    times = [(point.step, point.timestamp - run.info.start_time) for point in points]
    assert times == [(1, 300), (2, 600)]
    assert run.info.status == "RUNNING"
