"""Images and prompts that are begun once a process, as far as nothing is tuned."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.data.images.table import normalize
from study.method.model import FewShotClassifier
from study.method.precision import cast_matrices
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.trial import activations
from study.trial.activations import CHUNK, begin_images, open_table, zero_shot_text
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


@pytest.fixture
def table(holdout: TrialData) -> Path:
    """Images of the digits, more than a chunk."""
    return holdout.train_images


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    free_memory()
    yield
    free_memory()


def plain(table: Path, backbone: Backbone, subset: str, paths: list[str]) -> Tensor:
    pixels = open_table(table).pixels(paths)
    staged = StagedClassifier(FewShotClassifier(backbone, parse(subset)))
    return staged.begin_images(normalize(pixels, backbone.image_mean, backbone.image_std))


def test_a_table_is_begun_once_for_all_that_have_it_begun_as_far(table: Path, backbone: Backbone):
    paths = list(open_table(table).paths)
    assert len(paths) > CHUNK
    some = paths[5:8]
    for subset, new in (("vision.ln1[-1]", True), ("vision.ln1[-1]", False), ("none", True)):
        spy = Spy(backbone, subset)
        begun, turned = (begin_images(spy, table, own) for own in (some, some[::-1]))
        torch.testing.assert_close(begun, plain(table, backbone, subset, some))
        assert torch.equal(turned, begun.flip(0))
        assert sum(spy.given) == (len(paths) if new else 0)


def test_what_does_not_fit_is_begun_at_each_use_and_noticed_once(
    table: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(activations.IMAGES, "capacity", 1000)
    some = list(open_table(table).paths)[5:8]
    for given in ([CHUNK, 3], [3]):
        spy = Spy(backbone, "vision.ln1[-1]")
        begun = begin_images(spy, table, some)
        torch.testing.assert_close(begun, plain(table, backbone, "vision.ln1[-1]", some))
        assert spy.given == given


def test_text_is_encoded_once_by_the_untuned_model_for_each_state_of_the_matrices(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ids = backbone.tokenize(["a photo of a one", "a photo of a two"])
    held = replace(backbone, clip=deepcopy(backbone.clip))
    cast_matrices(held.clip, "bfloat16")
    of_states: list[list[FewShotClassifier]] = []
    for one in (backbone, held):
        subsets = ("clipfit", "text-bias")
        of_states.append(
            [FewShotClassifier(one, parse(subset), precision="bfloat16") for subset in subsets]
        )
    made = Mock(wraps=FewShotClassifier)
    monkeypatch.setattr(activations, "FewShotClassifier", made)
    features = []
    for first, other in of_states:
        features.append(zero_shot_text(first, ids, tmp_path))
        assert torch.equal(zero_shot_text(other, ids, tmp_path), features[-1])
    assert made.call_count == len(of_states), "a copy takes longer than the prompts"
    assert not torch.equal(*features)
    free_memory()
    for (first, _), before in zip(of_states, features, strict=True):
        assert torch.equal(zero_shot_text(first, ids, tmp_path), before)


@pytest.mark.parametrize(
    "subset, at_once, again",
    [
        ("vision.ln", 3, False),
        ("clipfit", 1024, False),
        ("clipfit", 3, True),  # more than pass at once are encoded anew, where they change
    ],
)
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
    first = outcomes(run_trial(clipfit_trial(subset=subset), holdout, backbone))
    assert embedded
    embedded.clear()
    assert outcomes(run_trial(clipfit_trial(subset=subset), holdout, backbone)) == first
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
    tuned = clipfit_trial(subset=subset, epochs=0 if subset == "none" else 2)
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
