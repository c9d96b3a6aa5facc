"""A tuned projection is exported by every format that holds it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from study.backbones.backbone import Backbone, fingerprint
from study.backbones.load_backbone import load_backbone
from study.commands.main import main
from study.embedded import EMBEDDED
from study.method.delta import DeltaInfo, save_delta
from study.method.parameters import PROJECTION
from study.method.projection import ProjectionClassifier
from study.serving.saved_model import SavedModel, read_saved_model


@pytest.fixture
def projection(embedded: Backbone, tmp_path: Path) -> SavedModel:
    (tuned,) = ProjectionClassifier(embedded).tuned
    noise = torch.randn(tuned.parameter.shape, generator=torch.Generator().manual_seed(5))
    path = tmp_path / "delta.safetensors"
    info = DeltaInfo(EMBEDDED, None, embedded.fingerprint, "none", ("one", "two"), ("a {}.",))
    save_delta(path, {PROJECTION: tuned.parameter.detach() + 0.05 * noise}, info)
    return read_saved_model(path)


@pytest.mark.parametrize("name", ["hf", "openclip"])
def test_a_folder_has_the_tuned_projection(
    projection: SavedModel, exported: Any, embedded: Backbone, name: str
):
    folder, _ = exported(projection, name)
    tuned = projection.load_classifier().backbone.clip
    assert fingerprint(load_backbone(folder).clip) == fingerprint(tuned)
    untuned = embedded.clip.visual_projection.weight
    assert not torch.allclose(tuned.visual_projection.weight, untuned)


def test_its_card_says_what_is_tuned(projection: SavedModel, tmp_path: Path, embedded: Backbone):
    out = tmp_path / "card"
    assert main(["export", str(projection.delta), "--format", "hf", "--out", str(out)]) == 0
    count = embedded.clip.visual_projection.weight.numel()
    said = f"Tuned: `projection`, {count:,} parameters of it"
    assert said in (out / "README.md").read_text()
