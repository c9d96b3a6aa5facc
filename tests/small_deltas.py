"""Deltas of the small random CLIPs, as fixtures for the rooms that read and use deltas."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.method.delta import DeltaInfo, head_tensors, save_delta
from study.method.head import Head
from study.method.model import FewShotClassifier
from study.method.subsets import parse

INFO = DeltaInfo(
    backbone="tiny",
    revision=None,
    fingerprint="0123456789abcdef",
    subset="text.mlp.fc2.bias + vision.ln",
    class_names=('5" disc', "it's", "naïve 🐈‍⬛", "a\nb", "\\", "\ud800"),
    templates=("a photo of a {}.", "«{}» 'quoted'"),
)
NAMES = ("cat", "dog", "bird")


@pytest.fixture
def tuned(backbone: Backbone) -> FewShotClassifier:
    """A classifier moved away from its backbone."""
    classifier = FewShotClassifier(backbone, parse("clipfit"))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in classifier.tuned:
            shape = parameter.parameter.shape
            parameter.parameter.add_(0.1 * torch.randn(shape, generator=generator))
    return classifier


@pytest.fixture
def tensors(tuned: FewShotClassifier) -> dict[str, Tensor]:
    return {t.name: t.parameter.detach() for t in tuned.tuned}


@pytest.fixture
def path(tensors: dict[str, Tensor], backbone: Backbone, tmp_path: Path) -> Path:
    file = tmp_path / "delta.safetensors"
    save_delta(file, tensors, replace(INFO, fingerprint=backbone.fingerprint))
    return file


@pytest.fixture
def head() -> Head:
    """A head of two of three classes, by their places among the names."""
    rows = torch.randn(2, 24, generator=torch.Generator().manual_seed(3))
    return Head(torch.nn.functional.normalize(rows, dim=-1), (2, 0))


@pytest.fixture
def headed(
    path: Path, tensors: dict[str, Tensor], head: Head, checkpoint: Path, backbone: Backbone
) -> Path:
    """A delta with a head."""
    info = replace(
        INFO, backbone=str(checkpoint), fingerprint=backbone.fingerprint, class_names=NAMES
    )
    save_delta(path, {**tensors, **head_tensors(head)}, info)
    return path
