"""Prompts are encoded once a process as far as nothing in the text encoder is tuned."""

from pathlib import Path

import pytest

from study.backbones.load_backbone import load_backbone
from study.method.model import FewShotClassifier
from study.method.subsets import parse
from study.trial.machine_faults import free_memory
from study.trial.run_trial import run_trial
from study.trial.study import TrialData
from tests.case_tables import from_table
from tests.small_trials import outcomes, trial


@from_table
def test_prompts_are_begun_once_for_all_trials_as_far_as_nothing_is_tuned(
    subset: str,
    at_once: int,
    again: bool,
    holdout: TrialData,
    tiny_backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    forget_all(holdout)
    monkeypatch.setattr("study.trial.activations.PROMPTS_AT_ONCE", at_once)
    backbone = load_backbone(tiny_backbone)
    embedded = []
    backbone.clip.text_model.embeddings.token_embedding.register_forward_hook(
        lambda _, ids, __: embedded.append(ids)
    )
    first = outcomes(run_trial(trial(subset=subset), holdout, backbone))
    assert embedded
    embedded.clear()
    assert outcomes(run_trial(trial(subset=subset), holdout, backbone)) == first
    assert bool(embedded) == again


@pytest.mark.parametrize("subset", ["none", "text-bias", "vision.ln[-1]", "clipfit"])
def test_another_process_finds_the_features_of_encoders_in_which_nothing_is_tuned(
    subset: str, holdout: TrialData, tiny_backbone: Path
):
    forget_all(holdout)
    backbone = load_backbone(tiny_backbone)
    encoded = {"text": 0, "vision": 0}
    last_norm = backbone.clip.vision_model.post_layernorm
    ends = {"text": backbone.clip.text_projection, "vision": last_norm}
    for name, layer in ends.items():
        layer.register_forward_pre_hook(lambda *_, name=name: encoded.update({name: 1}))
    tuned = trial(subset=subset, epochs=0 if subset == "none" else 2)
    first = outcomes(run_trial(tuned, holdout, backbone))
    assert encoded == {"text": 1, "vision": 1}
    free_memory()
    encoded.update(text=0, vision=0)
    assert outcomes(run_trial(tuned, holdout, backbone)) == first
    resolved = [t.name for t in FewShotClassifier(backbone, parse(subset)).tuned]
    assert encoded == {
        name: int(any(own.startswith(f"{name}_model") for own in resolved)) for name in encoded
    }


def forget_all(data: TrialData):
    """Forget what this process and those before it computed."""
    free_memory()
    for path in data.train_images.parent.glob("frozen-*"):
        path.unlink()
