"""What a trial is given and what it reports: types that a check of a study can do without torch."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from small_trials import trial

from study.protocols import Transfer
from study.trial import Target, TrialConfig, TrialData


def test_a_trials_configuration_comes_back_from_its_file() -> None:
    config = trial(bias_lr=None, optuna_number=3, taken_from="a" * 32)
    text = json.dumps(config.model_dump(mode="json"))
    assert TrialConfig.model_validate(json.loads(text)) == config


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"subsets": "clipfit"}, "subsets"),
        ({"stage": "test"}, "'search', 'confirm' or 'ablation'"),
        ({"seed": "first"}, "seed"),
        ({"training": {"momentun": 0.5}}, "training.momentun"),
    ],
)
def test_a_file_of_something_else_is_no_trials_configuration(
    changes: dict[str, object], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        trial(**changes)


def test_a_trials_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        trial().seed = 3  # type: ignore[misc]


def test_the_classes_of_a_target_are_its_own_and_of_any_other_part_the_trials() -> None:
    data = TrialData(
        dataset="digits",
        protocol=Transfer(),
        class_names=("zero", "one"),
        templates=("a {}.",),
        tasks=(),
        digest="0" * 64,
        train_images=Path(),
        eval_images=Path(),
        augment=False,
        split="test",
    )
    assert data.class_names_of("accuracy") == ("zero", "one")
    target = Target(class_names=("banded", "dotted"), templates=("{}.",), images=Path())
    wider = replace(data, targets={"dtd": target})
    assert wider.class_names_of("dtd") == ("banded", "dotted")
    assert wider.class_names_of("base") == ("zero", "one")


def test_the_types_of_a_trial_do_not_import_torch() -> None:
    code = "import sys, study.trial; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
