"""Images and prompts that are begun once a process, as far as nothing is tuned."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.method.model import FewShotClassifier
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.trial import activations
from study.trial.activations import (
    CHUNK,
    begin_images,
    begin_uncached,
    open_table,
)
from study.trial.machine_faults import free_memory
from study.trial.run_trial import run_trial
from study.trial.study import TrialData
from tests.settings import clipfit_trial
from tests.trial.outcomes import outcomes


class Spy(StagedClassifier):
    """Remembers how many images it was given at a time."""

    def __init__(self, backbone: Backbone, subset: str):
        super().__init__(FewShotClassifier(backbone, parse(subset)))
        self.given: list[int] = []

    def begin_images(self, pixel_values: Tensor) -> Tensor:
        self.given.append(len(pixel_values))
        return super().begin_images(pixel_values)


@pytest.fixture(autouse=True)
def nothing_kept(holdout: TrialData) -> Iterator[None]:
    """Forget what this process and those before it computed."""
    for path in holdout.caches.glob("frozen-*"):
        path.unlink()
    free_memory()
    yield
    free_memory()


def test_a_table_is_encoded_once_up_to_a_stage(
    holdout: TrialData, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    table = holdout.train_images
    paths = list(open_table(table).paths)
    some = paths[5:8]
    last_block = "vision.ln1[-1]"
    for subset, given in ((last_block, len(paths)), (last_block, 0), ("none", len(paths))):
        spy = Spy(backbone, subset)
        begun, turned = (begin_images(spy, table, own) for own in (some, some[::-1]))
        assert sum(spy.given) == given
        assert torch.equal(turned, begun.flip(0))
        torch.testing.assert_close(begun, begin_uncached(spy, open_table(table), some))
    free_memory()
    monkeypatch.setattr(activations.IMAGES, "capacity", 1000)
    for sizes in ([CHUNK, 3], [3]):  # that it does not fit is noticed once
        spy = Spy(backbone, last_block)
        begin_images(spy, table, some)
        assert spy.given == sizes


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
