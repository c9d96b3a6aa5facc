"""A trial's hash: equal for equal results whatever the trial is called, else different."""

import importlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import study
from study.config.loading import build_config
from study.config.schema import StudyConfig, TrainingConfig
from study.data.images.image_reading import ImageReading
from study.data.tasks import Task
from study.errors import StudyError
from study.protocols import PROTOCOLS, FewShot, Protocol, Transfer
from study.storage.study_folder import StudyFolder
from study.trial import TrialData, config_hash
from study.trial.config_hash import ROOMS, code_hash, code_of_others, compute_config_hash
from study.trial.prepare import Preparer
from study.trial.study import Study
from tests.small_trials import trial


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrialData:
    storage = tmp_path_factory.mktemp("same")
    values = {"storage": str(storage), "data": {"shots": 2, "augment": False}}
    config: StudyConfig = build_config(values, "test")
    return Preparer(Study(config, StudyFolder(storage)), 16).search()


def test_names_change_nothing(data: TrialData) -> None:
    other = trial(
        **{"trial_id": "ablation-0007", "stage": "ablation", "arm": "a", "label": "b"},
        **{"number": 7, "optuna_number": 3, "taken_from": "run", "config_hash": "x"},
    )
    assert compute_config_hash(trial(), data, "weights") == compute_config_hash(
        other, data, "weights"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Of one `subset_key`.
        ({"subset": "text.ln + vision.ln[0:2]"}, {"subset": "text.ln + vision.ln[-2:]"}),
        (
            {"training": {"optimizer": "adamw", "momentum": 0.5}},
            {"training": {"optimizer": "adamw"}},
        ),
        ({"epochs": 0, "training": {"weight_decay": 0.5, "epochs": 9}}, {"epochs": 0}),
    ],
)
def test_what_has_no_effect_changes_nothing(
    data: TrialData, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert len({compute_config_hash(trial(**given), data, "w") for given in (one, other)}) == 1


@pytest.mark.parametrize(
    "change",
    [
        *({"seed": 2}, {"ln_lr": 0.2}, {"subset_key": "abd"}, {"epochs": 3}),
        *({"distill_weight": 2.0}, {"training": {"momentum": 0.5, "batch_size": 8}}),
    ],
)
def test_another_training_is_another(data: TrialData, change: dict[str, Any]) -> None:
    assert compute_config_hash(trial(**change), data, "weights") != compute_config_hash(
        trial(), data, "weights"
    )


def test_a_further_key_of_training_counts_by_itself(data: TrialData) -> None:
    class Further(TrainingConfig):
        smoothing: float = 0.0

    trials = [trial().model_copy(update={"training": Further(smoothing=s)}) for s in (0.0, 0.1)]
    assert len({compute_config_hash(one, data, "weights") for one in trials}) == 2


Change = Callable[[TrialData], TrialData]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: replace(d, class_names=tuple(reversed(d.class_names))),
        lambda d: replace(d, templates=("{}",)),
        lambda d: replace(d, ensemble=True),
        lambda d: replace(d, augment=True),
        lambda d: replace(d, split="test"),
        lambda d: replace(d, digest="0" * 64),
        lambda d: replace(d, reading=ImageReading((0.0, 4095.0))),
        lambda d: replace(d, protocol=Transfer()),
    ],
)
def test_other_data_is_another(data: TrialData, change: Change) -> None:
    assert compute_config_hash(trial(), change(data), "weights") != compute_config_hash(
        trial(), data, "weights"
    )


def test_another_way_from_files_to_pixels_is_another(
    data: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = compute_config_hash(trial(), data, "weights")
    monkeypatch.setattr(config_hash, "PREPROCESSING", config_hash.PREPROCESSING + 1)
    assert compute_config_hash(trial(), data, "weights") != before


def test_other_weights_are_another(data: TrialData) -> None:
    assert compute_config_hash(trial(), data, "weights") != compute_config_hash(
        trial(), data, "others"
    )


def test_other_pixels_of_the_same_name_are_another(data: TrialData, tmp_path: Path) -> None:
    values = {"storage": str(tmp_path), "data": {"shots": 2, "augment": False}}
    larger = Preparer(Study(build_config(values, "test"), StudyFolder(tmp_path)), 24).search()
    tasks: tuple[Task, ...] = larger.tasks
    assert tasks == data.tasks
    assert compute_config_hash(trial(), larger, "weights") != compute_config_hash(
        trial(), data, "weights"
    )


PACKAGE = Path(study.__file__ or "").parent


@pytest.fixture(scope="module")
def copied_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("code") / "study"
    for room in ROOMS:
        shutil.copytree(PACKAGE / room, copy / room)
    return copy


@pytest.mark.parametrize("room", ROOMS)
def test_an_edit_of_a_file_that_results_depend_on_is_another_code(
    copied_code: Path, room: str
) -> None:
    whole = code_hash.__wrapped__(copied_code)
    assert whole == code_hash(PACKAGE)
    deepest = max((copied_code / room).rglob("*.py"), key=lambda path: len(path.parts))
    contents = deepest.read_bytes()
    deepest.write_bytes(contents + b"\nedited = 1\n")
    assert code_hash.__wrapped__(copied_code) != whole
    deepest.write_bytes(contents)


def test_an_edit_of_comments_docstrings_and_layout_is_the_same_code(copied_code: Path) -> None:
    path = copied_code / "method" / "edited.py"
    path.write_text('"""A module."""\n\nRATE = 1\n"""A rate."""\n\ndef f(x):\n    return 2 * x\n')
    before = code_hash.__wrapped__(copied_code)
    path.write_text(
        '"""Another."""\nRATE = 1  # a rate\ndef f(x):\n    """Double."""\n    return (2 * x)\n'
    )
    assert code_hash.__wrapped__(copied_code) == before
    path.write_text("RATE = 1\ndef f(x):\n    return x * 2\n")
    assert code_hash.__wrapped__(copied_code) != before
    path.unlink()


def test_a_room_without_code_is_an_error(copied_code: Path, tmp_path: Path) -> None:
    shutil.copytree(copied_code, tmp_path / "study")
    shutil.rmtree(tmp_path / "study" / "method")
    with pytest.raises(FileNotFoundError, match="method holds no code"):
        code_hash.__wrapped__(tmp_path / "study")


OTHERS = """
from study.data.tasks import holdout_tasks
from study.protocols import FewShot, Rule


def tasks(shots, name, classes, folds):
    return holdout_tasks(shots, name, classes)


class Others(FewShot):
    name = "others"
    rules = (Rule("mine", "as I like", tasks),)
"""


def others(file: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> type[Protocol]:
    """Write and import a protocol of another package."""
    file.write_text(code)
    monkeypatch.syspath_prepend(str(file.parent))
    found: type[Protocol] = importlib.import_module(file.stem).Others
    return found


def test_an_edit_of_anothers_protocol_is_another_code(
    data: TrialData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = others(tmp_path / "first_protocol.py", OTHERS, monkeypatch)
    again = others(tmp_path / "same_protocol.py", OTHERS, monkeypatch)
    other = others(tmp_path / "other_protocol.py", OTHERS + "edited = 1", monkeypatch)
    hashes = [
        compute_config_hash(trial(), replace(data, protocol=protocol()), "weights")
        for protocol in (first, again, other)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_rule_of_another_package_counts_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = others(tmp_path / "rules_of_others.py", OTHERS, monkeypatch)
    borrowed = type("Borrowed", (FewShot,), {"rules": protocol.rules, "__module__": "study.run"})
    assert code_of_others(borrowed) == code_of_others(protocol) != []


@pytest.mark.parametrize("name", PROTOCOLS)
def test_this_packages_protocols_are_in_the_code_that_is_hashed_already(name: str) -> None:
    assert code_of_others(PROTOCOLS[name]) == []


def test_a_protocol_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typed_in", ModuleType("typed_in"))
    typed = type("Typed", (FewShot,), {"name": "typed", "__module__": "typed_in"})
    with pytest.raises(StudyError, match="'typed' stands in no file"):
        code_of_others(typed)
