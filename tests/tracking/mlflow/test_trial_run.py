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


def test_the_runs_that_validation_chose_say_so_in_their_names(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("starred")
    for number in range(2):
        study.whole(number)
    confirmation = {"stage": "confirm", "label": "best", "arm": "best"}
    study.end(study.trial(2, trial_id="confirm-best-seed1", **confirmation))

    def choose(trial_id: str, same_as: str | None = None) -> dict[str, str]:
        best = {"label": "best", "source_trial": trial_id, "same_as": same_as}
        study.folder.write_json("candidates.json", [best | {"settings": {"subset": "ln"}}])
        sync(study, mlflow_store)
        return {trial: run.info.run_name for trial, run in runs(mlflow_store, study).items()}

    confirmed = {"confirm-best-seed1": "best ★ · seed 1", "": "starred"}
    first = choose("search-0000")
    assert first == {"search-0000": "trial 0 ★", "search-0001": "trial 1", **confirmed}
    # The search went on and found a better one, which a baseline is equal to.
    confirmed["confirm-best-seed1"] = "best · seed 1"
    second = choose("search-0001", same_as="clipfit")
    assert second == {"search-0000": "trial 0", "search-0001": "trial 1 ★", **confirmed}


def test_a_new_trial_is_sent_without_looking_through_the_others(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make("unsought")
    sender = Sender(study.study, mlflow_store)
    study.whole(0)
    monkeypatch.setattr(MlflowClient, "search_runs", unheard)
    sender.send_trial("search-0000")
    monkeypatch.undo()
    assert runs(mlflow_store, study)["search-0000"].info.status == "FINISHED"


def test_a_run_is_found_again_where_its_creation_was_not_heard_of(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make("unheard")
    sender = Sender(study.study, mlflow_store)
    study.whole(0)
    create = MlflowClient.create_run

    def create_and_be_cut_off(*arguments: Any, **options: Any) -> None:
        create(*arguments, **options)
        unheard()

    monkeypatch.setattr(MlflowClient, "create_run", create_and_be_cut_off)
    with pytest.raises(ConnectionError):
        sender.send_trial("search-0000")
    monkeypatch.undo()
    sender.send_trial("search-0000")
    assert runs(mlflow_store, study).keys() == {"", "search-0000"}


def unheard(*_: Any, **__: Any) -> None:
    """What a connection that is cut does."""
    raise ConnectionError("the connection was cut")


@pytest.fixture
def renamed(make: MakeStudy, tmp_path: Path, new_store: Callable[[Path], str]) -> Sender:
    """Has sent a confirmation that is another's now: an extended study set its winner aside."""
    study = make("mine")
    folder = study.folder
    confirmation = {"trial_id": "confirm-best-seed1", "stage": "confirm", "label": "best"}
    config = study.trial(0, arm="best", **confirmation)
    folder.trial(config.trial_id).append_report({"epoch": 1, "test_score": 0.5, "seconds": 1.0})
    study.end(config)
    sender = Sender(study.study, new_store(tmp_path))
    sender.send_trial("confirm-best-seed1")
    folder.trial("confirm-best-seed1").rename("confirm-best-of-8-seed1", label="best-of-8")
    return sender


def confirmations(sender: Sender) -> list[Run]:
    client: MlflowClient = sender.client
    return list(client.search_runs([sender.study_run.experiment_id], "tags.stage = 'confirm'"))


def test_the_run_of_a_renamed_trial_follows_and_no_second_one_is_made(renamed: Sender) -> None:
    renamed.send_trial("confirm-best-of-8-seed1")
    (run,) = confirmations(renamed)
    assert run.data.tags["trial_id"] == "confirm-best-of-8-seed1"
    assert run.data.tags["label"] == "best-of-8"
    assert run.info.run_name == "best-of-8 · seed 1"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_score"] == 0.5


def test_what_is_sent_under_an_old_name_is_no_fault(renamed: Sender) -> None:
    renamed.send_trial("confirm-best-seed1")
    (run,) = confirmations(renamed)
    assert run.info.run_name == "best · seed 1"


def test_the_next_of_its_name_leaves_the_run_of_a_renamed_trial_alone(renamed: Sender) -> None:
    (earlier,), folder = confirmations(renamed), renamed.study.folder
    config = folder.trial("confirm-best-of-8-seed1").read_config()
    trial = folder.trial("confirm-best-seed1")
    changes = {"trial_id": "confirm-best-seed1", "label": "best", "settings": {"subset": "ln"}}
    trial.create(config | changes)
    trial.append_report({"epoch": 1, "test_score": 0.75, "seconds": 1.0})
    trial.write_end(End("finished", 1, 1.0))
    renamed.send_trial("confirm-best-seed1")  # where the renamed one could not be sent yet
    renamed.send_trial("confirm-best-of-8-seed1")
    found = {run.data.tags["trial_id"]: run for run in confirmations(renamed)}
    assert {trial_id: run.data.metrics["test_score"] for trial_id, run in found.items()} == {
        "confirm-best-seed1": 0.75,
        "confirm-best-of-8-seed1": 0.5,
    }
    assert found["confirm-best-of-8-seed1"].info.run_id == earlier.info.run_id


def test_a_trial_that_was_damaged_and_is_trained_again_gets_another_run(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("damaged")
    study.whole(0)
    sync(study, mlflow_store)
    before = runs(mlflow_store, study)["search-0000"]
    assert before.info.status == "FINISHED"
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
) -> None:
    study = make(f"unmarked-{marked}-{ended}")
    config = study.trial(0)
    trial = study.folder.trial("search-0000")
    sync(study, mlflow_store)
    mark = (trial.path / "mlflow.json").read_bytes()
    study.report(config, 1, seconds=0.7)
    study.report(config, 2, seconds=0.7)
    if ended:
        study.end(config, "finished")
    Sender(study.study, mlflow_store).send_trial("search-0000")
    if marked:  # the driver died before it wrote the present one
        (trial.path / "mlflow.json").write_bytes(mark)
    else:
        (trial.path / "mlflow.json").unlink()
    trial.reopen()
    study.report(config, 1, seconds=0.3)
    sender = Sender(study.study, mlflow_store)
    sender.send_trial("search-0000")
    study.report(config, 2, seconds=0.3)
    sender.send_trial("search-0000")
    run = runs(mlflow_store, study)["search-0000"]
    points = MlflowClient(mlflow_store).get_metric_history(run.info.run_id, "val_score")
    assert [point.step for point in points] == [1, 2]
    assert len({point.timestamp - run.info.start_time for point in points} & {300, 600}) == 2
    assert run.info.status == "RUNNING"


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
