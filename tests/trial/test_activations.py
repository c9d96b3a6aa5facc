"""Images that are begun once a process: kept where there is room, never computed for nothing."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.data.images.table import normalize
from study.method.model import FewShotClassifier
from study.method.precision import cast_matrices
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.trial import activations
from study.trial.activations import CHUNK, begin_images, open_table, zero_shot_text
from study.trial.machine_faults import free_memory
from study.trial.study import TrialData


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


def test_what_there_is_no_room_for_is_begun_when_asked_for_and_found_out_once(
    table: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(activations.IMAGES, "room", 1000)
    some = list(open_table(table).paths)[5:8]
    for given in ([CHUNK, 3], [3]):
        spy = Spy(backbone, "vision.ln1[-1]")
        begun = begin_images(spy, table, some)
        torch.testing.assert_close(begun, plain(table, backbone, "vision.ln1[-1]", some))
        assert spy.given == given


def test_text_features_are_those_of_the_matrices_that_are_held(backbone: Backbone, tmp_path: Path):
    ids = backbone.tokenize(["a photo of a one", "a photo of a two"])
    held = replace(backbone, clip=deepcopy(backbone.clip))
    cast_matrices(held.clip, "bfloat16")
    unchanged, casting = (FewShotClassifier(one, precision="bfloat16") for one in (backbone, held))
    exact, cast = (zero_shot_text(classifier, ids, tmp_path) for classifier in (unchanged, casting))
    assert not torch.equal(exact, cast)
    free_memory()
    assert torch.equal(zero_shot_text(unchanged, ids, tmp_path), exact)
    assert torch.equal(zero_shot_text(casting, ids, tmp_path), cast)


def test_the_untuned_model_is_copied_once_for_all_trainings(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ids = backbone.tokenize(["a photo of a one", "a photo of a two"])
    made = Mock(wraps=FewShotClassifier)
    monkeypatch.setattr(activations, "FewShotClassifier", made)
    tuned = [FewShotClassifier(backbone, parse(subset)) for subset in ("clipfit", "text-bias")]
    free_memory()
    first, again = (zero_shot_text(classifier, ids, tmp_path) for classifier in tuned)
    assert torch.equal(first, again)
    assert made.call_count == 1
