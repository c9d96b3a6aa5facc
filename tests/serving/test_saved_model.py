"""What stands for a study: its best configuration's delta, as the model registry takes it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.config.trial_settings import TrialSettings
from study.errors import DataError, DeltaError, StudyError
from study.method.delta import load_delta, save_delta
from study.results.study_result import read_study_result, write_chance
from study.serving.saved_model import Origin, read_best_model, read_saved_model
from tests.real_study import BEST

FULL = TrialSettings.model_validate({"subset": "none", "method": {"method": "full", "lr": 1e-5}})


def delta_in(study: Any, trial: str = "test-best-seed1") -> Path:
    return study.folder.trial(trial).path / "delta.safetensors"


@pytest.fixture
def study(finish: Any, tmp_path: Path) -> Any:
    return finish(tmp_path, "mine")


def test_the_delta_of_a_trial_is_used_as_its_study_uses_it(finish: Any, tmp_path: Path):
    study = finish(tmp_path, "mine", linear=True)
    saved = read_saved_model(delta_in(study))
    assert (saved.settings.alpha, saved.settings.head) == (0.75, "linear")
    assert saved.name == "trial test-best-seed1 of study 'mine'"
    name = "the final model of study 'mine' (trial test-best-seed1)"
    assert read_best_model(study.study) == replace(saved, name=name)


@pytest.mark.parametrize("place", ["delta.safetensors", "trials/own/delta.safetensors"])
def test_a_delta_in_no_study_has_no_origin(study: Any, tmp_path: Path, place: str):
    tensors, info = load_delta(delta_in(study))
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    save_delta(path, tensors, replace(info, templates=("a {}.", "the {}!")))
    saved = read_saved_model(path)
    assert (saved.origin, saved.info.templates) == (None, ("a {}.", "the {}!"))
    save_delta(path, tensors, replace(info, subset="<script>"))
    with pytest.raises(DeltaError, match=r"delta.* has damaged metadata: subset '<script>'"):
        read_saved_model(path)


def test_a_delta_of_a_damaged_study_is_refused(study: Any):
    (study.folder.path / "identity.json").write_text("{")
    with pytest.raises(StudyError, match="identity"):
        read_saved_model(delta_in(study))


def test_of_a_best_configuration_the_first_seed_is_taken_or_the_next_if_it_failed(study: Any):
    saved = read_best_model(study.study)
    assert (saved.delta, saved.instead_of) == (delta_in(study), None)
    study_id = study.folder.read_identity()["study_id"]
    assert saved.origin == Origin(study_id, "test-best-seed1")
    study.fail("test-best-seed1")
    assert read_best_model(study.study).delta == delta_in(study, "test-best-seed2")
    study.fail("test-best-seed2")
    with pytest.raises(DataError, match="has no final model yet"):
        read_best_model(study.study)


def test_a_best_configuration_that_tunes_nothing_is_the_backbone_as_it_is(study: Any):
    study.test(1, "zero-shot", 0.67)
    zero_shot = study.candidates["zero-shot"]
    study.choose(zero_shot, zero_shot.model_copy(update={"label": "best"}))
    saved = read_best_model(study.study)
    assert saved.delta == delta_in(study, "test-zero-shot-seed1")
    assert load_delta(saved.delta)[0] == {}
    assert (saved.info.subset, saved.settings.subset) == ("none", "none")
    assert saved.load_classifier().class_names[0] == "digit zero"
    linear = zero_shot.model_copy(update={"settings": TrialSettings(subset="none", head="linear")})
    study.choose(zero_shot, linear.model_copy(update={"label": "best"}))
    with pytest.raises(DeltaError, match="has the text head of an earlier best"):
        read_best_model(study.study)


def full_tuning_wins(study: Any, *others: str):
    """Let full fine-tuning win, beside other candidates with the settings of the present best."""
    zero_shot, best = study.candidates.values()
    tuned = {"settings": FULL, "val_score": 0.9, "source_trial": "search-0000"}
    rest = [best.model_copy(update={"label": label, "training": label}) for label in others]
    study.choose(zero_shot, best.model_copy(update=tuned), *rest)


@pytest.mark.parametrize("at_chance", [None, "best", "best-with-delta"])
def test_of_a_best_configuration_without_a_delta_the_best_that_has_one_stands_for_it(
    study: Any, at_chance: str | None
):
    full_tuning_wins(study, "best-with-delta")
    for seed in (1, 2):
        study.test(seed, "best-with-delta", 0.7)
        if at_chance:
            study.test(seed, at_chance, 0.05)
    write_chance(read_study_result(study.folder.path))
    if at_chance:
        refusal = f"of its best configuration '{at_chance}' is 4.4% on test and"
        with pytest.raises(DataError, match=refusal):
            read_best_model(study.study)
    else:
        saved = read_best_model(study.study)
        assert saved.delta == delta_in(study, "test-best-with-delta-seed1")
        assert saved.instead_of == FULL
        assert saved.settings.subset == BEST["subset"]


def lose_deltas(study: Any):
    full_tuning_wins(study)
    delta_in(study).unlink()


@pytest.mark.parametrize(
    "change, reason",
    [
        (lose_deltas, r"seed1/delta\.safetensors cannot be read: No such file"),
        (lambda study: study.choose(study.candidates["zero-shot"]), "has no best configuration"),
        *(
            (lambda study, lost=lost: (study.folder.path / lost).unlink(), "'mine' is not finished")
            for lost in ("trials/test-best-seed2/end.json", "description.md")
        ),
    ],
)
def test_a_study_without_a_best_configuration_that_can_be_used_is_refused(
    study: Any, change: Callable[[Any], object], reason: str
):
    change(study)
    with pytest.raises((DataError, DeltaError), match=reason):
        read_best_model(study.study)
