"""What stands for a study: its best configuration's delta, as the model registry takes it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.errors import DataError, DeltaError, StudyError
from study.method.delta import load_delta, save_delta
from study.results.study_result import write_chance
from study.serving.saved_model import Origin, read_best_model, read_saved_model
from study.storage.trial_folder import End
from tests.not_none import not_none
from tests.real_study import BEST

FULL = {"subset": "none", "method": {"method": "full", "lr": 1e-5}}


def delta_in(study: Any, trial: str = "test-best-seed1") -> Path:
    return study.folder.trial(trial).path / "delta.safetensors"


@pytest.fixture
def study(finish: Any, tmp_path: Path) -> Any:
    return finish(tmp_path, "mine")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def refusal(study: Any, scratch: Path) -> str:
    """Return why a study has no best configuration that can be used."""
    with pytest.raises((DataError, DeltaError)) as refused:
        read_best_model(study.study, scratch)
    return str(refused.value)


@pytest.mark.parametrize("ensemble, templates", [(False, 1), (True, 2)])
def test_the_delta_of_a_trial_is_used_as_its_study_uses_it(
    finish: Any, tmp_path: Path, scratch: Path, ensemble: bool, templates: int
):
    study = finish(tmp_path, "mine", linear=True)
    study.configure(f"data.ensemble={ensemble}")
    tensors, info = load_delta(delta_in(study))
    save_delta(delta_in(study), tensors, replace(info, templates=("a {}.", "the {}!")))
    saved = read_saved_model(delta_in(study))
    assert (saved.settings.alpha, len(saved.info.templates)) == (0.75, templates)
    name = "trial test-best-seed1 of study 'mine'"
    assert saved == replace(read_best_model(study.study, scratch), name=name)


@pytest.mark.parametrize("place", ["delta.safetensors", "trials/own/delta.safetensors"])
def test_a_delta_in_no_study_has_no_origin_and_one_template(study: Any, tmp_path: Path, place: str):
    tensors, info = load_delta(delta_in(study))
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    save_delta(path, tensors, replace(info, templates=("a {}.", "the {}!")))
    saved = read_saved_model(path)
    assert (saved.origin, saved.info.templates) == (None, ("a {}.",))


def test_a_delta_of_a_stranger_whose_subset_is_none_is_refused(study: Any, tmp_path: Path):
    tensors, info = load_delta(delta_in(study))
    save_delta(tmp_path / "other.safetensors", tensors, replace(info, subset="<script>"))
    with pytest.raises(DeltaError, match=r"other.* has damaged metadata: subset '<script>'"):
        read_saved_model(tmp_path / "other.safetensors")


@pytest.mark.parametrize("damaged", ["study.yaml", "identity.json"])
def test_a_delta_of_a_damaged_study_is_refused(study: Any, damaged: str):
    (study.folder.path / damaged).write_text("{")
    with pytest.raises(StudyError, match=damaged):
        read_saved_model(delta_in(study))


def test_of_a_best_configuration_the_first_seed_is_taken_or_the_next_if_it_failed(
    study: Any, scratch: Path
):
    saved = read_best_model(study.study, scratch)
    assert saved.delta == delta_in(study)
    assert saved.name == "the final model of study 'mine' (trial test-best-seed1)"
    assert saved.instead_of is None
    study_id = study.folder.read_identity()["study_id"]
    assert saved.origin == Origin(study_id, "test-best-seed1")
    assert saved.settings == study.study.candidates()[1].settings
    assert saved.info.templates == load_delta(saved.delta)[1].templates[:1]
    study.folder.trial("test-best-seed1").write_end(End("failed", 1, 1.0))
    assert read_best_model(study.study, scratch).delta == delta_in(study, "test-best-seed2")
    study.folder.trial("test-best-seed2").write_end(End("failed", 1, 1.0))
    assert "has no final model yet" in refusal(study, scratch)


def test_a_best_configuration_that_tunes_nothing_is_the_backbone_as_it_is(
    study: Any, scratch: Path
):
    study.test(1, "zero-shot", 0.67)
    zero_shot, best = study.folder.read_json("candidates.json")
    best |= {**zero_shot, "label": "best"}
    study.folder.write_json("candidates.json", [zero_shot, best])
    saved = read_best_model(study.study, scratch)
    assert saved.delta.is_relative_to(scratch)
    assert load_delta(saved.delta)[0] == {}
    assert (saved.info.subset, saved.settings.subset) == ("none", "none")
    assert saved.load_classifier().class_names[0] == "digit zero"


def full_tuning_wins(study: Any, *others: dict[str, Any]):
    """Let full fine-tuning win, beside other candidates with the settings of the present best."""
    zero_shot, best = study.folder.read_json("candidates.json")
    full = best | {"settings": FULL, "val_score": 0.9, "source_trial": "search-0000"}
    rest = [best | own | {"training": own["label"]} for own in others]
    study.folder.write_json("candidates.json", [zero_shot, full, *rest])


def test_of_a_best_configuration_without_a_delta_the_best_that_has_one_stands_for_it(
    study: Any, scratch: Path
):
    full_tuning_wins(study, {"label": "best-with-delta"})
    study.test(1, "best-with-delta", 0.7)
    saved = read_best_model(study.study, scratch)
    assert saved.delta == delta_in(study, "test-best-with-delta-seed1")
    assert not_none(saved.instead_of).method is not None
    assert saved.settings.subset == BEST["subset"]


@pytest.mark.parametrize("label", ["best", "best-with-delta"])
def test_a_study_at_chance_has_no_best_configuration(study: Any, scratch: Path, label: str):
    full_tuning_wins(study, {"label": "best-with-delta"})
    for seed in (1, 2):
        study.test(seed, "best-with-delta", 0.7)
        study.test(seed, label, 0.05)
    write_chance(study.folder)
    assert f"of its best configuration '{label}' is 4.4% on test and" in refusal(study, scratch)


def lose_deltas(study: Any):
    full_tuning_wins(study)
    for seed in (1, 2):
        delta_in(study, f"test-best-seed{seed}").unlink()


def choose_nothing(study: Any):
    study.folder.write_json("candidates.json", study.folder.read_json("candidates.json")[:1])


@pytest.mark.parametrize(
    "change, reason",
    [
        (lose_deltas, "'best' of study 'mine' has no file"),
        (lambda study: delta_in(study).unlink(), r"seed1/delta\.safetensors is missing"),
        (choose_nothing, "study 'mine' has no best configuration, since validation has chosen"),
        *(
            (lambda study, lost=lost: (study.folder.path / lost).unlink(), "'mine' is not finished")
            for lost in ("trials/test-best-seed2/end.json", "description.md")
        ),
    ],
)
def test_a_study_without_a_best_configuration_that_can_be_used_is_refused(
    study: Any, scratch: Path, change: Callable[[Any], object], reason: str
):
    change(study)
    with pytest.raises((DataError, DeltaError), match=reason):
        read_best_model(study.study, scratch)
