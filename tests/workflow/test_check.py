"""Everything is looked at before anything starts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.errors import ConfigError, StudyError
from study.storage.ledger import StudyFolder
from study.tracking.mlflow.tracker import MlflowTracker
from study.tracking.tracker import Tracker
from study.trial.study import Study
from study.workflow.check import all_faults, check_study

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


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def remove_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)


def remove_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def garble_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def confuse_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_attention_heads"] = 7
    (folder / "config.json").write_text(json.dumps(config))


def remove_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["vision_model.post_layernorm.bias"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def garble_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


DAMAGES = [damage_weights, remove_weights, remove_a_tensor, remove_tokenizer, garble_tokenizer]
DAMAGES += [remove_config, garble_config, confuse_config]


@pytest.mark.parametrize("damage", DAMAGES)
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
                "clipfit": {"subset": "clipfit", "bias_lr": 1, "ln_lr": 1},
                "deep": {"subset": "vision.ln1[7]", "ln_lr": 1},
            }
        }
    )
    assert fault.startswith("search.baselines.deep.subset: vision.ln1[7:8] selects no layer")
    assert "layers 0 to 2" in fault


@pytest.mark.parametrize("dataset", ["digits", "glyphs"])
def test_a_folder_that_the_dataset_would_not_be_read_from_is_told(look: Look, dataset: str) -> None:
    (fault,) = look(data={"dataset": dataset, "root": "pets", "shots": 2})
    assert fault.startswith("data.root: the folder 'pets'")
    assert f"'{dataset}'" in fault
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
    ],
)
def test_a_test_among_one_class_is_told(
    look: Look, tmp_path: Path, protocol: str, classes: str, tested: str, part: str, only: str
) -> None:
    data = few_classes(tmp_path / "images", *classes, tested=tuple(tested))
    (fault,) = look(protocol=protocol, data=data)
    assert fault.startswith(f"data: mine: '{part}' would be tested on one class alone, '{only}'")
    assert "whatever is trained" in fault


@pytest.mark.parametrize(("protocol", "classes"), [("few_shot", "ab"), ("base_to_new", "abcd")])
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


def test_more_shots_than_images_are_told(look: Look) -> None:
    (fault,) = look(data={"shots": 5000})
    assert fault.startswith("data: ")
    assert "5000" in fault


def test_a_prompt_too_long_for_the_text_encoder_is_told(look: Look) -> None:
    (fault,) = look(data={"shots": 2, "templates": ["word " * 80 + "{}"]})
    assert fault.startswith("data.templates: prompt 'word ")
    assert "reads at most 77" in fault


def test_class_folds_of_too_few_classes_are_told(look: Look) -> None:
    (fault,) = look(protocol="base_to_new", search={"selection": "class_folds"})
    assert fault.startswith("data: ")
    assert "12" in fault


def test_a_name_that_exists_is_told_unless_it_is_resumed(look: Look, tmp_path: Path) -> None:
    StudyFolder(tmp_path / "runs" / "mine").create("", {})
    (fault,) = look()
    assert fault.startswith("name: study 'mine' exists")
    assert "--resume mine" in fault
    assert look(resuming=True) == []


def test_storage_that_is_a_file_is_told(look: Look, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (fault,) = look(storage=str(tmp_path / "file" / "runs"))
    assert fault.startswith("storage: ")


def test_an_object_store_is_no_storage(look: Look) -> None:
    (fault,) = look(storage="s3://bucket/runs")
    assert fault.startswith("storage: s3:/bucket/runs is no folder")


def test_a_tracker_that_was_handed_over_is_asked_in_place_of_mlflow(look: Look) -> None:
    class Full(MlflowTracker):
        def check(self, config: StudyConfig) -> None:
            raise StudyError(f"no room for '{config.name}'")

    assert look(tracker=Full(), tracking={"uri": "unknown://x"}) == ["tracking: no room for 'mine'"]


def test_an_unknown_tracker_is_named_with_those_that_there_are(look: Look) -> None:
    (fault,) = look(tracking={"tracker": "mlflo"})
    assert fault.startswith("tracking: 'mlflo' is unknown (did you mean 'mlflow'?)")


def test_faults_are_told_together(look: Look, tmp_path: Path) -> None:
    faults = look(
        backbone=tmp_path / "nowhere",
        data={"dataset": "nothing"},
        storage="/dev/null",
        tracking={"uri": "unknown://x"},
    )
    places = [fault.partition(":")[0] for fault in faults]
    assert places == ["data", "backbone", "storage", "tracking"]
