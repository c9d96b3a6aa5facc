"""A study is a run, and each trial a child that holds what its folder does.

Nothing is sent twice, and what changed is sent anew.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from written_study import EPOCHS, MakeStudy, Written, artifacts, history, runs, sync

from study.storage.study_folder import DESCRIPTION
from study.storage.trial_folder import End, TrialFolder
from study.tracking.mlflow.runs import LONGEST_NOTE, RunWriter


def test_each_trial_is_a_child_that_ends_as_the_trial_did(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("ends")
    study.whole(0)
    study.whole(1, "stopped", 2, reason="successive halving at epoch 2")
    study.whole(2, "failed", 1, error="Traceback\nValueError: boom")
    assert sync(study, mlflow_server) == 3
    found = runs(mlflow_server, study)
    parent = found.pop("")
    ends = {trial: (run.info.status, run.data.tags["ended"]) for trial, run in found.items()}
    assert ends == {
        "search-0000": ("FINISHED", "finished"),
        "search-0001": ("FINISHED", "stopped"),  # a killed run looks like one that failed
        "search-0002": ("FAILED", "failed"),
    }
    for number, run in enumerate(found[f"search-{n:04d}"] for n in range(3)):
        tags, params = run.data.tags, run.data.params
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        assert tags.items() >= {"stage": "search", "study": "ends", "split_hash": "f" * 16}.items()
        expected = {
            "subset": "vision.ln[0:2]",
            "ln_lr": str(0.01 + number),
            "distill_weight": "0.0",
            "head": "text",
            "strength": "1.0",
            "seed": "1",
            "dataset": "digits",
            "protocol": "few_shot",
            "backbone": "embedded",
            "shots": "16",
        }
        assert params == expected
        assert run.data.metrics["trainable"] == 1536
        assert run.data.metrics["seconds"] == 1.5
        reports = study.folder.trial(f"search-{number:04d}").read_reports()
        assert history(mlflow_server, run) == [(r["epoch"], r["val_score"]) for r in reports]
    assert found["search-0001"].data.tags["stop_reason"] == "successive halving at epoch 2"
    assert "boom" in found["search-0002"].data.tags["error"]
    assert artifacts(mlflow_server, found["search-0000"]) >= {"config.json", "delta.safetensors"}
    assert "delta.safetensors" in artifacts(mlflow_server, found["search-0001"])


@pytest.mark.parametrize("stage", ["search", "confirm"])
def test_the_first_metric_of_a_trial_of_the_search_is_its_score(
    mlflow_store: str, make: MakeStudy, stage: str
) -> None:
    study = make(f"ordered-{stage}")
    config = study.trial(0, stage=stage)
    writer, folder = RunWriter(study.study, mlflow_store), study.folder.trial(config.trial_id)
    for report in ({}, {}, {"val_score": 0.5}):  # as with a linear head
        epoch = len(folder.read_reports()) + 1
        folder.append_report({"epoch": epoch, "train_loss": 1.0, "seconds": 1.0, **report})
        writer.sync_trial(config.trial_id)
        run = runs(mlflow_store, study)[config.trial_id]
        begun = stage == "confirm" or bool(report)
        assert bool(run.data.metrics) == begun, "its losses wait for its score"
    first = "val_score" if stage == "search" else "train_loss"
    assert next(iter(run.data.metrics)) == first, "MLflow lists them as they came"
    assert [step for step, _ in history(mlflow_store, run, "train_loss")] == [1, 2, 3]
    assert run.data.metrics["trainable"] == 1536


def test_a_running_trial_is_described_and_its_end_changes_that(
    mlflow_store: str, make: MakeStudy
) -> None:
    study = make("described")
    config = study.trial(0)
    writer = RunWriter(study.study, mlflow_store)

    def described() -> str:
        writer.sync_trial(config.trial_id)
        note: str = runs(mlflow_store, study)[config.trial_id].data.tags["mlflow.note.content"]
        return note

    assert described() == "`vision.ln[0:2]`, ln lr 0.01, λ 0"
    study.report(config, 1)
    study.end(config, "stopped", reason="successive halving at epoch 1")
    assert described() == (
        "1.0 % on validation, stopped after 1 epoch: successive halving at epoch 1, "
        "`vision.ln[0:2]`, ln lr 0.01, λ 0"
    )


def test_the_parent_has_configuration_tables_and_description(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("parent")
    study.folder.write_json("candidates.json", [])
    (study.folder.path / "leaderboard.md").write_text("# best")
    study.conclude()
    (study.folder.path / "plots").mkdir()
    (study.folder.path / "plots" / "one.png").write_bytes(b"png")
    sync(study, mlflow_server)
    parent = runs(mlflow_server, study)[""]
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "parent"
    assert parent.data.params["search.trials"] == "48"
    assert parent.data.params["training.momentum"] == "0.9"
    assert parent.data.tags["mlflow.note.content"] == "the **best** is here"
    expected = {"dataset": "digits", "backbone": "embedded", "git_commit": "abc123"}
    assert parent.data.tags.items() >= expected.items()
    assert artifacts(mlflow_server, parent) >= {
        *("study.yaml", "identity.json", "candidates.json", "leaderboard.md", "plots/one.png"),
    }


@pytest.mark.parametrize("heading", [[], ["## A further table"]])
def test_a_description_that_is_too_long_loses_its_last_paragraphs_and_says_so(
    mlflow_store: str, make: MakeStudy, heading: list[str]
) -> None:
    study = make(f"talkative-{len(heading)}")
    study.whole(0)
    paragraph = "| a | table |\n| --- | --- |\n" + "| 1 | 2 |\n" * 89 + "| 1 | 2 |"
    (study.folder.path / DESCRIPTION).write_text(
        "\n\n".join(["**won**", *[paragraph] * 8, *heading, paragraph])
    )
    sync(study, mlflow_store)
    note = runs(mlflow_store, study)[""].data.tags["mlflow.note.content"]
    first, *tables, last = note.split("\n\n")
    assert (first, last) == (
        "**won**",
        "The rest is in `report.html` among this run's artifacts.",
    )
    assert set(tables) == {paragraph}
    assert 7000 < len(note) <= LONGEST_NOTE


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


def test_two_studies_of_one_name_are_two_runs(mlflow_server: str, tmp_path: Path) -> None:
    first, second = (Written(tmp_path / place, "namesake") for place in ("a", "b"))
    first.whole(0)
    for study in (first, second):
        sync(study, mlflow_server)
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("namesake")
    found = client.search_runs([experiment.experiment_id], "tags.study_parent = 'yes'")
    assert len(found) == 2


def test_a_trial_that_ends_while_it_is_sent_loses_no_epoch(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make("raced")
    config = study.trial(0)
    study.report(config, 1)
    read = TrialFolder.read_reports

    def read_and_end(folder: TrialFolder) -> Any:
        monkeypatch.undo()
        reports = read(folder)
        for epoch in (2, 3):
            study.report(config, epoch)
        study.end(config)
        return reports

    monkeypatch.setattr(TrialFolder, "read_reports", read_and_end)
    for _ in range(2):
        sync(study, mlflow_store)
    assert len(history(mlflow_store, runs(mlflow_store, study)["search-0000"])) == EPOCHS


def test_a_new_trial_is_sent_without_looking_through_the_others(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make("unsought")
    writer = RunWriter(study.study, mlflow_store)
    study.whole(0)
    monkeypatch.setattr(MlflowClient, "search_runs", unheard)
    writer.sync_trial("search-0000")
    monkeypatch.undo()
    assert runs(mlflow_store, study)["search-0000"].info.status == "FINISHED"


def test_a_run_is_found_again_where_its_creation_was_not_heard_of(
    mlflow_store: str, make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make("unheard")
    writer = RunWriter(study.study, mlflow_store)
    study.whole(0)
    create = MlflowClient.create_run

    def create_and_be_cut_off(*arguments: Any, **options: Any) -> None:
        create(*arguments, **options)
        unheard()

    monkeypatch.setattr(MlflowClient, "create_run", create_and_be_cut_off)
    with pytest.raises(ConnectionError):
        writer.sync_trial("search-0000")
    monkeypatch.undo()
    writer.sync_trial("search-0000")
    assert runs(mlflow_store, study).keys() == {"", "search-0000"}


def unheard(*_: Any, **__: Any) -> None:
    """What a connection that is cut does."""
    raise ConnectionError("the connection was cut")


@pytest.fixture
def renamed(make: MakeStudy, tmp_path: Path, new_store: Callable[[Path], str]) -> RunWriter:
    """Has sent a confirmation that is another's now: an extended study set its winner aside."""
    study = make("mine")
    folder = study.folder
    confirmation = {"trial_id": "confirm-best-seed1", "stage": "confirm", "label": "best"}
    config = study.trial(0, arm="best", **confirmation)
    folder.trial(config.trial_id).append_report({"epoch": 1, "test_score": 0.5, "seconds": 1.0})
    study.end(config)
    writer = RunWriter(study.study, new_store(tmp_path))
    writer.sync_trial("confirm-best-seed1")
    folder.trial("confirm-best-seed1").rename("confirm-best-of-8-seed1", label="best-of-8")
    return writer


def confirmations(writer: RunWriter) -> list[Run]:
    client: MlflowClient = writer.client
    return list(client.search_runs([writer.experiment_id], "tags.stage = 'confirm'"))


def test_the_run_of_a_renamed_trial_follows_and_no_second_one_is_made(renamed: RunWriter) -> None:
    renamed.sync_trial("confirm-best-of-8-seed1")
    (run,) = confirmations(renamed)
    assert run.data.tags["trial_id"] == "confirm-best-of-8-seed1"
    assert run.data.tags["label"] == "best-of-8"
    assert run.info.run_name == "best-of-8 · seed 1"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_score"] == 0.5


def test_what_is_sent_under_an_old_name_is_no_fault(renamed: RunWriter) -> None:
    renamed.sync_trial("confirm-best-seed1")
    (run,) = confirmations(renamed)
    assert run.info.run_name == "best · seed 1"


def test_the_next_of_its_name_leaves_the_run_of_a_renamed_trial_alone(renamed: RunWriter) -> None:
    (earlier,), folder = confirmations(renamed), renamed.study.folder
    config = folder.trial("confirm-best-of-8-seed1").read_config()
    trial = folder.trial("confirm-best-seed1")
    changes = {"trial_id": "confirm-best-seed1", "label": "best", "settings": {"subset": "ln"}}
    trial.create(config | changes)
    trial.append_report({"epoch": 1, "test_score": 0.75, "seconds": 1.0})
    trial.write_end(End("finished", 1, 1.0))
    renamed.sync_trial("confirm-best-seed1")  # where the renamed one could not be sent yet
    renamed.sync_trial("confirm-best-of-8-seed1")
    found = {run.data.tags["trial_id"]: run for run in confirmations(renamed)}
    assert {trial_id: run.data.metrics["test_score"] for trial_id, run in found.items()} == {
        "confirm-best-seed1": 0.75,
        "confirm-best-of-8-seed1": 0.5,
    }
    assert found["confirm-best-of-8-seed1"].info.run_id == earlier.info.run_id


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
    assert after.keys() == before.keys()
    for trial, run in after.items():
        earlier = before[trial]
        assert (run.info.run_id, run.info.status) == (earlier.info.run_id, earlier.info.status)
        for key in ("val_score", "train_loss", "seconds", "trainable"):
            assert history(mlflow_server, run, key) == history(mlflow_server, earlier, key)
    assert len(history(mlflow_server, after["search-0000"])) == EPOCHS


def test_a_study_is_sent_whole_to_another_server(
    mlflow_server: str,
    mlflow_store: str,
    make: MakeStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # where a local store puts its artifacts
    study = make("moved")
    study.whole(0)
    sync(study, mlflow_server)
    sync(study, mlflow_store)
    found = runs(mlflow_store, study)
    assert found["search-0000"].info.status == "FINISHED"
    assert len(history(mlflow_store, found["search-0000"])) == EPOCHS


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
    RunWriter(study.study, mlflow_store).sync_trial("search-0000")
    if marked:  # the driver died before it wrote the present one
        (trial.path / "mlflow.json").write_bytes(mark)
    else:
        (trial.path / "mlflow.json").unlink()
    trial.reopen()
    study.report(config, 1, seconds=0.3)
    writer = RunWriter(study.study, mlflow_store)
    writer.sync_trial("search-0000")
    study.report(config, 2, seconds=0.3)
    writer.sync_trial("search-0000")
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
