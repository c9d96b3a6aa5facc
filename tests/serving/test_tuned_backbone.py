"""A delta gives back the model that was tuned, or says that it is of another one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.errors import DeltaError
from study.method.delta import save_delta
from study.method.head import Head
from study.method.model import FewShotClassifier
from study.serving.tuned_backbone import load_tuned_backbone
from tests.small_deltas import INFO, NAMES


def test_a_head_comes_back_with_the_names_of_its_classes(
    headed: Path, head: Head, tuned: FewShotClassifier, path: Path
) -> None:
    loaded, found, info = load_tuned_backbone(headed)
    assert found is not None
    assert torch.equal(found.rows, head.rows)
    assert (found.classes, info.class_names) == (("bird", "cat"), NAMES)
    for ours, theirs in zip(loaded.clip.parameters(), tuned.clip.parameters(), strict=True):
        assert torch.equal(ours, theirs), "the model itself has no head"


def test_a_delta_of_another_backbone_is_refused_naming_both(
    checkpoint: Path, path: Path, tensors: dict[str, Tensor], backbone: Backbone
) -> None:
    save_delta(path, tensors, replace(INFO, backbone="other"))
    expected = f"'other'.*{INFO.fingerprint}.*'{checkpoint}'.*{backbone.fingerprint}"
    with pytest.raises(DeltaError, match=expected):
        load_tuned_backbone(path, str(checkpoint))
