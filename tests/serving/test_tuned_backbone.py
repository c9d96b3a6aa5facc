"""A delta gives back the model that was tuned, or says that it is of another one."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from study.backbones.backbone import Backbone
from study.errors import DeltaError
from study.method.delta import save_delta
from study.serving.tuned_backbone import load_tuned_backbone
from tests.small_deltas import INFO


def test_a_delta_of_another_backbone_is_refused_naming_both(
    checkpoint: Path, path: Path, tensors: dict[str, Tensor], backbone: Backbone
):
    save_delta(path, tensors, replace(INFO, backbone="other"))
    expected = f"'other'.*{INFO.fingerprint}.*'{checkpoint}'.*{backbone.fingerprint}"
    with pytest.raises(DeltaError, match=expected):
        load_tuned_backbone(path, str(checkpoint))
