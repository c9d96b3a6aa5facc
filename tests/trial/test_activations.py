"""Images and prompts that are begun once a process, as far as nothing is tuned."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from study.backbones.load_backbone import load_backbone
from study.trial.machine_faults import free_memory
from study.trial.run_trial import run_trial
from study.trial.study import TrialData
from tests.settings import clipfit_trial
from tests.trial.outcomes import outcomes


@pytest.fixture(autouse=True)
def nothing_kept(holdout: TrialData) -> Iterator[None]:
    """Forget what this process and those before it computed."""
    for path in holdout.caches.glob("frozen-*"):
        path.unlink()
    free_memory()
    yield
    free_memory()


@pytest.mark.parametrize(
    "subset, at_once, kept, again",
    [
        ("none", 1024, "disk", ""),
        ("text-bias", 1024, "disk", "text"),
        ("vision.ln[-1]", 1024, "disk", "vision"),
        ("clipfit", 1024, "disk", "text vision"),
        ("vision.ln", 3, "disk", "vision"),
        ("clipfit", 1024, "memory", "text vision"),
        ("clipfit", 3, "memory", "embedding text vision"),  # anew, as too many pass at once
    ],
)
def test_what_is_not_tuned_is_encoded_once_for_all_trials_and_processes(
    subset: str,
    at_once: int,
    kept: str,
    again: str,
    holdout: TrialData,
    tiny_backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("study.trial.activations.PROMPTS_AT_ONCE", at_once)
    backbone = load_backbone(tiny_backbone)
    passed = set()
    layers = {"text": backbone.clip.text_projection}
    layers["vision"] = backbone.clip.vision_model.post_layernorm
    if kept == "memory":
        layers["embedding"] = backbone.clip.text_model.embeddings.token_embedding
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda *_, name=name: passed.add(name))
    tuned = clipfit_trial(subset=subset, epochs=0 if subset == "none" else 2)
    first = outcomes(run_trial(tuned, holdout, backbone))
    assert passed == layers.keys()
    if kept == "disk":
        free_memory()
    passed.clear()
    assert outcomes(run_trial(tuned, holdout, backbone)) == first
    assert passed == {*again.split()}
