"""A study that exists goes on as it was frozen, or not at all: every command says why."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.errors import ConfigError
from study.run import main
from study.storage.ledger import LedgerError, StudyFolder
from study.trial.study import Study
from study.workflow.check import all_faults
from study.workflow.resumption import frozen_config, resumed_config

COMMANDS = (
    ["--resume", "mine"],
    ["--status", "mine"],
    ["--sync", "mine"],
    ["--extend", "mine", "search.trials=+8"],
    ["--resume", "mine", "--check"],
)
every_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c))


@pytest.fixture
def config() -> StudyConfig:
    return build_config({"name": "mine", "search": {"trials": 10}}, "test")


@pytest.fixture
def folder(
    tmp_path: Path, config: StudyConfig, monkeypatch: pytest.MonkeyPatch, mlflow_store: str
) -> StudyFolder:
    """A study in the working folder's ``runs``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    folder = StudyFolder(tmp_path / "runs" / "mine")
    folder.create(dump_config(config), {"git_commit": "abc"})
    folder.trial("search-0000").create({"number": 0, "stage": "search"})
    return folder


def refused(capsys: pytest.CaptureFixture[str], command: list[str], *overrides: str) -> str:
    """Run what must be refused; return its one message, on one line."""
    assert main([*command, *overrides]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert "Traceback" not in output.err
    return " ".join(output.err.split())


def empty(path: Path) -> None:
    path.write_bytes(b"")


def set_another_value(path: Path) -> None:
    path.write_text(path.read_text().replace("epochs: 100", "epochs: 6"))


@pytest.mark.parametrize("damage", [empty, set_another_value])
@every_command
def test_a_frozen_configuration_that_changed_is_refused(
    folder: StudyFolder,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    damage: Callable[[Path], None],
) -> None:
    damage(folder.config_path)
    message = refused(capsys, command)
    assert "mine/study.yaml is damaged" in message
    assert "put it back from a copy; MLflow has one, the artifact study.yaml" in message


@every_command
def test_a_frozen_configuration_that_is_lost_is_asked_for(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    folder.config_path.unlink()
    assert "mine/study.yaml is missing; put it back" in refused(capsys, command)
    assert "study 'mine' exists" in refused(capsys, ["quickstart", "name=mine"])


def test_a_configuration_put_back_goes_on(folder: StudyFolder, config: StudyConfig) -> None:
    frozen = folder.config_path.read_bytes()
    empty(folder.config_path)
    with pytest.raises(LedgerError, match="damaged"):
        frozen_config(folder)
    folder.config_path.write_bytes(frozen)
    assert frozen_config(folder) == config


def test_a_study_from_before_its_configuration_had_a_sum_goes_on(folder: StudyFolder) -> None:
    (folder.path / "sha256.txt").unlink()
    set_another_value(folder.config_path)
    assert frozen_config(folder).training.epochs == 6


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--extend" not in c], ids=" ".join)
def test_overrides_that_change_results_are_refused_by_key_with_both_values(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    overrides = ["seed=3", "resources.max_concurrent=2", "search.asha=null", "data={shots: 4}"]
    message = refused(capsys, command, *overrides)
    assert "seed: is frozen as 1, got 3" in message
    assert "data.shots: is frozen as 16, got 4" in message
    assert "search.asha: is frozen as {" in message
    assert "allowed to change are storage, resources and tracking" in message
    assert "max_concurrent" not in message
    assert "data.augment" not in message


@pytest.mark.parametrize(
    "override", ["name=yours", "search.trials=20", "confirm.seeds=[1,2]", "backbone.name=/other"]
)
def test_what_a_study_consists_of_cannot_change(folder: StudyFolder, override: str) -> None:
    with pytest.raises(ConfigError, match=f"{override.partition('=')[0]}: is frozen as "):
        resumed_config(folder, [override])


def test_what_changes_no_result_may_change(folder: StudyFolder, config: StudyConfig) -> None:
    overrides = ["resources={cpus_per_trial: 2}", "tracking.experiment=mine", "storage=/elsewhere"]
    resumed = resumed_config(folder, [*overrides, "seed=1", "data.shots=16"])
    assert resumed.resources.cpus_per_trial == 2
    assert resumed.tracking.experiment == "mine"
    assert resumed.storage == Path("/elsewhere")
    assert frozen_config(folder) == config


@every_command
def test_an_override_given_twice_is_refused(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    message = refused(capsys, command, "storage=runs", "storage=elsewhere")
    assert "'storage=runs' and 'storage=elsewhere'" in message


@every_command
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (Path.unlink, "is missing"),
        (empty, "is damaged: its SHA-256"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory"),
    ],
    ids=["deleted", "emptied", "a folder"],
)
def test_an_identity_that_is_lost_is_asked_for(
    folder: StudyFolder,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    damage: Callable[[Path], object],
    fault: str,
) -> None:
    damage(folder.path / "identity.json")
    message = refused(capsys, command)
    assert f"mine/identity.json {fault}" in message
    assert "put it back from a copy" in message
    assert "delete" not in message


def test_an_identity_can_be_written_again_as_the_message_says(folder: StudyFolder) -> None:
    path, sums = folder.path / "identity.json", folder.path / "sha256.txt"
    before = folder.read_identity()
    values = {name: before[name] for name in ("study_id", "git_commit")}
    path.write_text(json.dumps(values))
    with pytest.raises(LedgerError, match=r"take the lines that end in identity\.json out of "):
        _ = folder.read_identity()
    kept = [line for line in sums.read_text().splitlines() if not line.endswith(path.name)]
    sums.write_text("\n".join([*kept, ""]))
    folder.refuse_damaged()
    assert folder.read_identity() == values


@every_command
@pytest.mark.parametrize("fault", ["is a file", "is missing"])
def test_trials_without_their_folder_are_asked_for(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str], command: list[str], fault: str
) -> None:
    trials = folder.path / "trials"
    trials.rename(folder.path / "kept")
    if fault == "is a file":
        trials.write_text("")
    message = refused(capsys, command)
    assert f"mine/trials {fault}; it must be the folder of the study's trials" in message


def test_a_stray_file_beside_the_trials_is_none_of_them(folder: StudyFolder) -> None:
    (folder.path / "trials" / ".nfs0001").write_text("")
    assert [trial.trial_id for trial in folder.trials()] == ["search-0000"]


def test_all_that_is_lost_is_named_at_once(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    empty(folder.config_path)
    (folder.path / "identity.json").unlink()
    message = refused(capsys, ["--resume", "mine"])
    assert "study.yaml is damaged" in message
    assert "identity.json is missing" in message


def test_an_emptied_configuration_of_before_there_were_checksums_is_refused(
    folder: StudyFolder,
) -> None:
    (folder.path / "sha256.txt").unlink()
    assert frozen_config(folder).search.trials == 10
    folder.config_path.write_bytes(b"")
    with pytest.raises(LedgerError, match=r"study\.yaml is damaged"):
        frozen_config(folder)


def test_a_folder_that_an_earlier_version_let_pass_does_not_stop_a_study_that_exists(
    folder: StudyFolder, config: StudyConfig, tmp_path: Path
) -> None:
    values = config.model_dump(mode="json") | {"data": {"root": str(tmp_path), "shots": 4}}
    frozen = build_config(values, "test")
    assert not any(
        "data.root" in fault for fault in all_faults(Study(frozen, folder), resuming=True)
    )
    assert any("data.root" in fault for fault in all_faults(Study(frozen, folder), resuming=False))
