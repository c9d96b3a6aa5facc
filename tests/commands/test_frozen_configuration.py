"""The frozen configuration of a study that exists."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from study.commands.frozen_configuration import frozen_config, load_study
from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.storage.ledger_files import LedgerError
from study.storage.study_folder import StudyFolder

COMMANDS = (
    ["resume", "mine"],
    ["status", "mine"],
    ["sync", "mine"],
    ["extend", "mine", "search.trials=+8"],
    ["resume", "mine", "--check"],
)


@pytest.fixture
def config() -> StudyConfig:
    return build_config({"name": "mine", "search": {"trials": 10}}, "test")


@pytest.fixture
def folder(
    here: Path, config: StudyConfig, monkeypatch: pytest.MonkeyPatch, mlflow_store: str
) -> StudyFolder:
    """A study in the working folder's ``runs``."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    folder = StudyFolder(here / "runs" / "mine")
    folder.create(dump_config(config), {})
    own = {"number": 0, "stage": "search", "settings": {"subset": "none"}}
    folder.trial("search-0000").create(own)
    return folder


def empty(path: Path):
    path.write_bytes(b"")


def set_another_value(path: Path):
    path.write_text(path.read_text().replace("epochs: 100", "epochs: 6"))


def become_folder(path: Path):
    path.unlink()
    path.mkdir()


def go_away(path: Path):
    path.rename(path.with_name("kept"))


def become_file(path: Path):
    go_away(path)
    path.touch()


@pytest.mark.parametrize(
    "name, damage, told",
    [
        ("study.yaml", Path.unlink, "is missing; put it back"),
        ("study.yaml", empty, "is damaged"),
        ("study.yaml", set_another_value, "is damaged"),
        ("identity.json", Path.unlink, "is missing; put it back"),
        ("identity.json", empty, "is damaged"),
        ("identity.json", become_folder, "cannot be read: Is a directory"),
        ("trials", go_away, "is missing"),
        ("trials", become_file, "is a file"),
    ],
)
def test_what_is_lost_or_changed_is_asked_for_by_every_command(
    folder: StudyFolder,
    refused: Callable[..., str],
    name: str,
    damage: Callable[[Path], object],
    told: str,
):
    damage(folder.path / name)
    for command in COMMANDS:
        message = refused(*command)
        assert f"mine/{name} {told}" in message
        assert "MLflow may have copies: study.yaml and identity.json" in message
        assert "delete" not in message


def test_all_that_is_lost_is_named_at_once(folder: StudyFolder, refused: Callable[..., str]):
    empty(folder.config_path)
    (folder.path / "identity.json").unlink()
    message = refused("resume", "mine")
    assert "study.yaml is damaged" in message
    assert "identity.json is missing" in message
    assert "study 'mine' exists" in refused("quickstart", "name=mine")


def test_overrides_that_change_results_are_refused_by_key_with_both_values(
    folder: StudyFolder, refused: Callable[..., str]
):
    overrides = ["seed=3", "resources.max_concurrent=2", "search.asha=null", "data={shots: 4}"]
    for command in COMMANDS:
        if "extend" in command:
            continue
        message = refused(*command, *overrides)
        assert "seed: is frozen as 1, got 3" in message
        assert "data.shots: is frozen as 16, got 4" in message
        assert "search.asha: is frozen as {" in message
        assert "allowed to change are storage, resources and tracking" in message
        assert "max_concurrent" not in message
        assert "data.augment" not in message


def test_what_changes_no_result_may_change(folder: StudyFolder, config: StudyConfig):
    overrides = ["resources={cpus_per_trial: 2}", "tracking.experiment=mine", "storage=/elsewhere"]
    resumed = load_study(folder, [*overrides, "seed=1", "data.shots=16"]).config
    assert resumed.resources.cpus_per_trial == 2
    assert resumed.tracking.experiment == "mine"
    assert resumed.storage == Path("/elsewhere")
    assert frozen_config(folder) == config


def test_an_identity_can_be_written_again_as_the_message_says(folder: StudyFolder):
    path, sums = folder.path / "identity.json", folder.path / "sha256.txt"
    before = folder.read_identity()
    values = {name: before[name] for name in ("format", "study_id")}
    path.write_text(json.dumps(values))
    with pytest.raises(LedgerError, match=r"take the lines that end in identity\.json out of "):
        _ = folder.read_identity()
    kept = [line for line in sums.read_text().splitlines() if not line.endswith(path.name)]
    sums.write_text("\n".join([*kept, ""]))
    folder.refuse_damaged()
    assert folder.read_identity() == values


def test_a_stray_file_beside_the_trials_is_none_of_them(folder: StudyFolder):
    (folder.path / "trials" / ".nfs0001").write_text("")
    assert [trial.trial_id for trial in folder.trials()] == ["search-0000"]
