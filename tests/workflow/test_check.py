"""Everything is looked at before anything starts, and a study goes on as it was frozen."""

import errno
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from siglips import save_siglip

from study.config.loading import build_config, dump_config
from study.config.schema import SITES_OF, StudyConfig
from study.errors import ConfigError, StudyError
from study.run import main
from study.storage.ledger import LedgerError, StudyFolder
from study.storage.probe import JOB
from study.tracking.mlflow.tracker import MlflowTracker
from study.tracking.tracker import Tracker
from study.trial.study import Study
from study.workflow.check import (
    all_faults,
    check_study,
    for_backbone,
    frozen_config,
    resumed_config,
)

Look = Callable[..., list[str]]


@pytest.fixture
def look(tiny_backbone: Path, tmp_path: Path, mlflow_store: str) -> Look:
    """Look at a study; give the faults."""

    def look(
        *,
        resuming: bool = False,
        backbone: Path = tiny_backbone,
        tracker: Tracker | None = None,
        **values: Any,
    ) -> list[str]:
        config = build_config(
            {
                "name": "mine",
                "storage": str(tmp_path / "runs"),
                "backbone": {"name": str(backbone)},
                "tracking": {"uri": mlflow_store},
                "data": {"shots": 2},
                **values,
            },
            "here",
        )
        folder = StudyFolder(config.storage / "mine")
        study = Study(config, folder)
        faults = all_faults(study, resuming=resuming, tracker=tracker)
        if faults:
            with pytest.raises(ConfigError, match=f"cannot start, {len(faults)} fault"):
                check_study(study, resuming=resuming, tracker=tracker)
        else:
            check_study(study, resuming=resuming, tracker=tracker)
        assert not (tmp_path / "runs" / "mine").exists() or resuming or faults
        return faults

    return look


def test_a_sound_study_has_no_fault(look: Look) -> None:
    assert look() == []


def damage_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def confuse_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_attention_heads"] = 7
    (folder / "config.json").write_text(json.dumps(config))


def garble_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


@pytest.mark.parametrize("damage", [damage_weights, confuse_config, garble_tokenizer])
def test_a_checkpoint_that_cannot_be_used_is_told(
    look: Look, tiny_backbone: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    copy = tmp_path / "damaged"
    shutil.copytree(tiny_backbone, copy)
    damage(copy)
    (fault,) = look(backbone=copy)
    assert fault.startswith(f"backbone: backbone '{copy}'")


def test_a_site_that_this_model_lacks_is_told_with_its_place(look: Look) -> None:
    (fault,) = look(
        search={
            "baselines": {
                "zero-shot": {"subset": "none"},
                "clipfit": {"subset": "clipfit", "rates": {"bias": 1, "ln": 1}},
                "deep": {"subset": "vision.ln1[7]", "rates": {"ln": 1}},
            }
        }
    )
    assert fault.startswith("search.baselines.deep.subset: vision.ln1[7:8] selects no layer")
    assert "layers 0 to 2" in fault


@pytest.mark.parametrize(
    "own", [{"peer": "lora"}, {"subset": "none", "peer": {"method": "lora", "lr": 0.01}}]
)
def test_lora_without_peft_is_told_before_anything_starts(
    look: Look, monkeypatch: pytest.MonkeyPatch, own: dict[str, Any]
) -> None:
    clipfit = {"subset": "clipfit", "rates": {"bias": 1, "ln": 1}}
    baselines = {"zero-shot": {"subset": "none"}, "clipfit": clipfit, "mine": own}
    assert look(search={"baselines": baselines}) == []
    monkeypatch.setitem(sys.modules, "peft", None)
    (fault,) = look(search={"baselines": baselines})
    assert fault.startswith("search.baselines.mine: LoRA needs the optional extra")
    assert "pip install 'clipfit-study[lora]'" in fault
    assert look(search={"baselines": {"full": {"peer": "full"}}}) == []


def test_a_folder_that_the_dataset_would_not_be_read_from_is_told(look: Look) -> None:
    (fault,) = look(data={"root": "pets", "shots": 2})
    assert fault.startswith("data.root: the folder 'pets'")
    assert "'digits'" in fault
    assert "data.dataset=NAME" in fault


def test_a_folder_that_no_target_would_be_read_from_is_told(look: Look, tmp_path: Path) -> None:
    targets = {"targets": ["glyphs"], "targets_root": str(tmp_path)}
    (fault,) = look(protocol="transfer", data={"dataset": "digits", "shots": 2, **targets})
    assert fault.startswith(f"data.targets_root: the folder '{tmp_path}'")
    assert "'glyphs'" in fault
    assert "data.targets=[NAME]" in fault


def few_classes(root: Path, *classes: str, tested: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Make an image folder; give the section of the configuration that names it."""
    tests = classes if tested is None else tested
    for split, names in (("train", classes), ("test", tests)):
        for name in names:
            (root / split / name).mkdir(parents=True)
            for n in range(8):
                Image.new("RGB", (8, 8), (n, n, n)).save(root / split / name / f"{n}.png")
    return {"dataset": "mine", "root": str(root), "shots": 2, "val_shots": 2}


@pytest.mark.parametrize(
    ("protocol", "classes", "tested", "part", "only"),
    [
        ("few_shot", "a", "a", "accuracy", "a"),
        ("zero_shot", "a", "a", "accuracy", "a"),
        ("few_shot", "abc", "b", "accuracy", "b"),
        ("base_to_new", "a", "a", "base", "a"),
        ("base_to_new", "ab", "ab", "base", "a"),
        ("base_to_new", "abc", "abc", "new", "c"),
        ("base_to_new", "abcd", "abd", "new", "d"),
        ("generalized", "a", "a", "base", "a"),
        ("generalized", "abc", "c", "base", "c"),
    ],
)
def test_a_test_among_one_class_is_told(
    look: Look, tmp_path: Path, protocol: str, classes: str, tested: str, part: str, only: str
) -> None:
    data = few_classes(tmp_path / "images", *classes, tested=tuple(tested))
    (fault,) = look(protocol=protocol, data=data)
    assert fault.startswith(f"data: mine: '{part}' would be tested on one class alone, '{only}'")
    assert "whatever is trained" in fault


def test_one_trained_class_among_all_names_is_told(look: Look, tmp_path: Path) -> None:
    (fault,) = look(protocol="generalized", data=few_classes(tmp_path / "images", *"ab"))
    assert fault == "data: mine: generalized needs a training split of 3 classes"


@pytest.mark.parametrize(
    ("protocol", "classes"), [("few_shot", "ab"), ("base_to_new", "abcd"), ("generalized", "abc")]
)
def test_the_fewest_classes_of_a_protocol_suffice(
    look: Look, tmp_path: Path, protocol: str, classes: str
) -> None:
    assert look(protocol=protocol, data=few_classes(tmp_path / "images", *classes)) == []


@pytest.mark.parametrize("protocol", ["transfer", "zero_shot"])
def test_a_target_of_one_class_is_told(look: Look, tmp_path: Path, protocol: str) -> None:
    few_classes(tmp_path / "images", "a")
    targets = {"targets": ["pets"], "targets_root": str(tmp_path / "images")}
    (fault,) = look(protocol=protocol, data={"shots": 2, **targets})
    assert fault.startswith("data.targets: pets: 'accuracy' would be tested on one class alone")


def test_a_folder_of_published_shots_that_is_not_there_is_told_once(look: Look) -> None:
    (fault,) = look(data={"shots": 2, "shots_from": "none"})
    assert fault.startswith("data.shots_from: none is no folder")


def test_more_shots_than_images_are_told(look: Look) -> None:
    (fault,) = look(data={"shots": 5000})
    assert fault.startswith("data: ")
    assert "5000" in fault


def test_names_that_are_no_text_are_all_told(look: Look, tmp_path: Path) -> None:
    data = few_classes(tmp_path / "images", "cat", "<|endoftext|>", "big\tdog")
    control, mark = look(data={**data, "shots": 2})
    assert "'big\\tdog' (U+0009)" in control
    assert "'<|endoftext|>' (<|endoftext|>)" in mark


def test_target_classes_that_differ_by_case_alone_are_told(look: Look, tmp_path: Path) -> None:
    few_classes(tmp_path / "images", "cat", "Cat")
    targets = {"targets": ["pets"], "targets_root": str(tmp_path / "images")}
    (fault,) = look(protocol="transfer", data={"shots": 2, **targets})
    assert fault.startswith("data.targets: pets: classes that CLIP reads as the same text")


def table(root: Path, *splits: str) -> dict[str, Any]:
    """List images of these splits in a table; give the section that names it."""
    section = few_classes(root, "cat", "dog")
    lines = ["path,class_name,split"]
    for path in root.glob("*/*/*.png"):
        split = path.parts[-3]
        if split in splits:
            lines.append(f"{path.relative_to(root)},{path.parent.name},{split}")
    (root / "images.csv").write_text("\n".join(lines))
    return {**section, "root": str(root / "images.csv")}


@pytest.mark.parametrize(("split", "lacking"), [("train", "test"), ("test", "training")])
def test_a_table_of_one_split_alone_is_told(
    look: Look, tmp_path: Path, split: str, lacking: str
) -> None:
    (fault,) = look(data=table(tmp_path / "images", split))
    assert fault.startswith("data: mine")
    assert f"has no {lacking} images" in fault


def test_a_table_of_which_no_file_is_there_is_told(look: Look, tmp_path: Path) -> None:
    data = table(tmp_path / "images", "train", "test")
    for split in ("train", "test"):
        shutil.rmtree(tmp_path / "images" / split)
    (fault,) = look(data=data)
    assert fault.startswith("data: mine: none of the 16 training images that are listed is in ")
    targets = {"targets": ["mine"], "targets_root": data["root"]}
    (fault,) = look(protocol="transfer", data={"shots": 2, **targets})
    assert fault.startswith("data.targets: mine: none of the 16 training images")


def test_a_prompt_too_long_for_the_text_encoder_is_told(look: Look) -> None:
    (fault,) = look(data={"shots": 2, "templates": ["word " * 80 + "{}"]})
    assert fault.startswith("data.templates: prompt 'word ")
    assert "reads at most 77" in fault


def test_a_name_that_exists_is_told_unless_it_is_resumed(look: Look, tmp_path: Path) -> None:
    StudyFolder(tmp_path / "runs" / "mine").create("", {})
    (fault,) = look()
    assert fault.startswith("name: study 'mine' exists")
    assert "resume mine" in fault
    assert look(resuming=True) == []


def test_what_a_search_starts_from_is_needed_until_it_has_begun(look: Look, tmp_path: Path) -> None:
    search = {"warm_start": "other"}
    folder = StudyFolder(tmp_path / "runs" / "mine")
    folder.create("", {})
    (fault,) = look(resuming=True, search=search)
    assert (
        fault == f"search.warm_start: no study 'other' with a search in {tmp_path / 'runs'}; "
        "there are none"
    )
    folder.trial("search-0000").create({})
    assert look(resuming=True, search=search) == []


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ("file/runs", "file"),
        ("/proc/x/runs", "/proc is not writable"),  # though root may write everywhere
        ("s3://bucket/runs", "s3:/bucket/runs is no folder"),
    ],
)
def test_storage_that_is_no_place_for_studies_is_told(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (fault,) = look(storage=storage)
    assert fault.startswith("storage: ")
    assert told in fault


def test_a_folder_that_one_may_not_look_into_is_told_beside_other_faults(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, stat = tmp_path / "closed", Path.stat

    def refuse(path: Path, **options: Any) -> Any:  # root may look everywhere
        if closed in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    uri = f"sqlite:///{closed / 'mlflow.db'}"
    found = look(data={"shots": 1000}, tracking={"uri": uri})
    assert f"tracking: {closed / 'mlflow.db'} cannot be used: Permission denied" in found
    assert any("1000" in fault for fault in found)


def test_a_check_leaves_nothing_where_the_storage_would_be(look: Look, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert look(storage=str(tmp_path / "there" / "runs" / "mine")) == []
    assert list((tmp_path / "there").iterdir()) == []


def test_more_cores_and_gpus_than_this_machine_has_are_told(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("study.search.machine.joins_cluster", lambda: False)
    cpus, gpus = look(resources={"cpus_per_trial": 9999, "gpus_per_trial": 0.5})
    assert cpus.startswith("resources.cpus_per_trial: 9999 a trial, and this machine has ")
    assert gpus.startswith("resources.gpus_per_trial: 0.5 a trial, and this machine has 0 GPUs")
    monkeypatch.setattr("study.search.machine.joins_cluster", lambda: True)
    monkeypatch.setenv("RAY_ADDRESS", "anyscale://mine")  # which is not asked
    assert look(resources={"cpus_per_trial": 9999, "gpus_per_trial": 0.5}) == []


def test_a_cluster_that_does_not_answer_is_told_and_needs_no_gpu_here(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.setattr("study.search.machine.ANSWERS_WITHIN", 0.5)
    (fault,) = look(resources={"gpus_per_trial": 1})
    assert fault.startswith("RAY_ADDRESS: no Ray cluster answers at 127.0.0.1:9 (")


def test_a_job_in_a_copy_of_a_folder_needs_places_outside_of_it(
    look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mlflow_store: str
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = {"storage": "runs", "tracking": {"uri": "sqlite:///mlflow.db"}}
    assert look(**relative) == []
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg_0.zip"}}))
    storage, tracking = look(**relative)
    assert storage.startswith("storage: runs would be in the copy of your folder that this job")
    assert tracking.startswith("tracking: sqlite:///mlflow.db is on the machine that this job")
    assert not [fault for fault in look() if fault.startswith("storage:")]  # which is absolute
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {}}))
    assert look(**relative) == []


def test_a_tracker_that_was_handed_over_is_asked_in_place_of_mlflow(look: Look) -> None:
    class Full(MlflowTracker):
        def check(self, config: StudyConfig) -> None:
            raise StudyError(f"no room for '{config.name}'")

    assert look(tracker=Full(), tracking={"uri": "unknown://x"}) == ["tracking: no room for 'mine'"]


def test_an_unknown_tracker_is_named_with_those_that_there_are(look: Look) -> None:
    (fault,) = look(tracking={"tracker": "mlflo"})
    assert fault.startswith("tracking.tracker: 'mlflo' is unknown (did you mean 'mlflow'?)")


def test_faults_are_told_together(look: Look, tmp_path: Path) -> None:
    faults = look(
        backbone=tmp_path / "nowhere",
        data={"dataset": "nothing"},
        storage="/dev/null",
        tracking={"uri": "unknown://x"},
    )
    places = [fault.partition(":")[0] for fault in faults]
    assert places == ["data", "backbone", "storage", "tracking"]


COMMANDS = (
    ["resume", "mine"],
    ["status", "mine"],
    ["sync", "mine"],
    ["extend", "mine", "search.trials=+8"],
    ["resume", "mine", "--check"],
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
    own = {"number": 0, "stage": "search", "settings": {"subset": "none"}}
    folder.trial("search-0000").create(own)
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


@pytest.mark.parametrize("command", [c for c in COMMANDS if "extend" not in c], ids=" ".join)
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
    values = {name: before[name] for name in ("format", "study_id", "git_commit")}
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
    message = refused(capsys, ["resume", "mine"])
    assert "study.yaml is damaged" in message
    assert "identity.json is missing" in message


def test_the_default_list_of_sites_is_that_of_the_backbone(tmp_path: Path) -> None:
    folder = save_siglip(tmp_path / "siglip")

    def sites(backbone: object, **space: Any) -> tuple[str, ...]:
        values = {"backbone": {"name": str(backbone)}, "search": {"space": space}}
        return for_backbone(build_config(values, "mine")).search.space.sites

    assert sites(folder) == SITES_OF["siglip"]
    assert sites(folder, sites=["text.ln1"]) == ("text.ln1",), "a list of one's own stays"
    assert sites("embedded") == SITES_OF["clip"]
    assert sites(tmp_path / "nowhere") == SITES_OF["clip"], "the check tells of that fault"
