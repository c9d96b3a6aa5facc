"""A trial's hash: equal for equal results whatever the trial is called, else different."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from study.config.methods import FullFineTuning, Lora
from study.config.schema import TrainingConfig
from study.config.trial_settings import HEADS
from study.data.images.image_reading import ImageReading
from study.errors import StudyError
from study.protocols import FewShot, Transfer
from study.storage.result_folder import JsonObject
from study.trial import config_hash
from study.trial.config_hash import code_hash, compute_config_hash
from study.trial.study import TrialData
from tests.settings import ARCHITECTURE, clipfit_trial
from tests.trial.outcomes import Prepare, method_trial


@pytest.mark.parametrize(
    "one, other",
    [
        (
            {"config_hash": "x", "number": 7},
            {"trial_id": "ablation-0007", "stage": "ablation", "group": "a", "label": "b"},
        ),
        ({"subset": "text.ln + vision.ln[0:3]"}, {"subset": "text.ln + vision.ln[-3:]"}),
        (
            {"training": {"optimizer": "adamw", "momentum": 0.5}},
            {"training": {"optimizer": "adamw"}},
        ),
        ({"epochs": 0, "training": {"weight_decay": 0.5, "epochs": 9}}, {"epochs": 0}),
    ],
)
def test_what_has_no_effect_changes_nothing(holdout: TrialData, one: JsonObject, other: JsonObject):
    hashes = {
        compute_config_hash(clipfit_trial(**given), holdout, ARCHITECTURE) for given in (one, other)
    }
    assert len(hashes) == 1


CHANGES: list[JsonObject] = [
    {"seed": 2},
    {"head": "linear"},
    {"ln_lr": 0.2},
    {"subset": "vision.ln"},
    {"subset": "vision.ln[0:2]"},
    {"subset": "vision.ln[1:3]"},
    {"epochs": 3},
    {"distill_weight": 2.0},
    {"training": {"momentum": 0.5, "batch_size": 8}},
    {"epochs": 0},
    {"epochs": 0, "training": {"balance": "weights", "batch_size": 8}},
    {"subset": "none", "method": {"method": "full", "lr": 0.002}},
    {"subset": "none", "method": {"method": "lora", "lr": 0.05}},
    {"subset": "none", "method": {"method": "lora", "lr": 0.05, "dropout": 0.3}},
]
"""Each has a hash of its own."""


def test_whatever_a_result_depends_on_changes_the_hash(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
):
    class Further(TrainingConfig):
        smoothing: float = 0.0

    trials = [clipfit_trial(**changes) for changes in CHANGES]
    trials.append(clipfit_trial().model_copy(update={"training": Further()}))
    trials.append(clipfit_trial().model_copy(update={"training": Further(smoothing=0.1)}))
    preparer = prepare("holdout")
    data = preparer.search()
    larger = type(preparer)(preparer.study, image_size=24).search()
    assert larger.tasks == data.tasks, "other pixels of the same name"
    others = [
        larger,
        replace(data, class_names=data.class_names[::-1]),
        replace(data, templates=("{}",)),
        replace(data, augment=True),
        replace(data, split="test"),
        replace(data, digest="0" * 64),
        replace(data, reading=ImageReading((0.0, 4095.0))),
        replace(data, protocol=Transfer()),
        replace(data, protocol=FewShot().balanced()),
        replace(data, heads=HEADS),
        replace(data, epoch_images=3),
    ]
    hashes = [compute_config_hash(one, data, ARCHITECTURE) for one in (clipfit_trial(), *trials)]
    hashes += [compute_config_hash(clipfit_trial(), other, ARCHITECTURE) for other in others]
    other_weights = ARCHITECTURE._replace(checkpoint="other weights")
    hashes.append(compute_config_hash(clipfit_trial(), data, other_weights))
    monkeypatch.setattr(config_hash, "PREPROCESSING", config_hash.PREPROCESSING + 1)
    hashes.append(compute_config_hash(clipfit_trial(), data, ARCHITECTURE))
    assert len({*hashes}) == len(hashes)


def test_the_version_of_peft_changes_the_hash_of_lora_alone(
    holdout: TrialData, monkeypatch: pytest.MonkeyPatch
):
    trials = [method_trial(FullFineTuning(lr=0.1)), method_trial(Lora(lr=0.1))]
    full, lora = (compute_config_hash(one, holdout, ARCHITECTURE) for one in trials)
    monkeypatch.setattr(config_hash, "version", lambda library: "0")
    assert compute_config_hash(trials[0], holdout, ARCHITECTURE) == full, "the rest is cached"
    assert compute_config_hash(trials[1], holdout, ARCHITECTURE) != lora


def test_an_edit_of_anothers_protocol_is_another_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(tmp_path))
    hashes = []
    for name, edit in (("first", ""), ("same", ""), ("other", "# edited")):
        code = f"from study.protocols import FewShot\nclass Others(FewShot): name = 'others' {edit}"
        (tmp_path / f"{name}_protocol.py").write_text(code)
        hashes.append(code_hash(importlib.import_module(f"{name}_protocol").Others))
    assert code_hash(FewShot) != hashes[0] == hashes[1] != hashes[2]


def test_a_protocol_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "typed_in", ModuleType("typed_in"))
    typed = type("Typed", (FewShot,), {"name": "typed", "__module__": "typed_in"})
    with pytest.raises(StudyError, match="'typed' is not in a file"):
        code_hash(typed)
