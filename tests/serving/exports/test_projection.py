"""A tuned projection is exported by every format that holds it; the other refuses it by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.commands import main
from study.embedded import EMBEDDED
from study.errors import DeltaError
from study.method.delta import DeltaInfo, save_delta
from study.method.parameters import PROJECTION
from study.method.projection import ProjectionClassifier
from study.serving.saved_model import SavedModel, read_saved_model

Make = Callable[..., Any]


@pytest.fixture
def projection(embedded: Backbone, tmp_path: Path) -> SavedModel:
    (tuned,) = ProjectionClassifier(embedded).tuned
    noise = torch.randn(tuned.parameter.shape, generator=torch.Generator().manual_seed(5))
    path = tmp_path / "delta.safetensors"
    info = DeltaInfo(EMBEDDED, None, embedded.fingerprint, "none", ("one", "two"), ("a {}.",))
    save_delta(path, {PROJECTION: tuned.parameter.detach() + 0.05 * noise}, info)
    return read_saved_model(path)


@pytest.fixture
def pixels(embedded: Backbone) -> Tensor:
    size = embedded.image_size
    return torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["hf", "openclip"])
def test_a_folder_has_the_tuned_projection(
    projection: SavedModel, exported: Make, embedded: Backbone, pixels: Tensor, name: str
) -> None:
    folder, _ = exported(projection, name)
    tuned, again = projection.load_classifier().backbone.clip, load_backbone(folder).clip
    weight = tuned.visual_projection.weight
    assert torch.equal(again.visual_projection.weight, weight)
    assert not torch.allclose(weight, embedded.clip.visual_projection.weight)
    with torch.no_grad():
        features = [
            clip.get_image_features(pixel_values=pixels).pooler_output for clip in (tuned, again)
        ]
    torch.testing.assert_close(*features)


def test_a_graph_gives_the_probabilities_of_the_tuned_projection(
    projection: SavedModel, exported: Make, pixels: Tensor
) -> None:
    import onnxruntime

    folder, _ = exported(projection, "onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (found,) = session.run(None, {"pixel_values": pixels.numpy()})
    model = projection.load_classifier()
    with torch.no_grad():
        logits = model.model.logits(model.model.encode_image(pixels), model.class_features)
    torch.testing.assert_close(torch.from_numpy(found), logits.softmax(dim=-1), atol=1e-4, rtol=0)


def test_peft_has_no_adapter_for_it(projection: SavedModel, exported: Make) -> None:
    with pytest.raises(DeltaError, match=rf"{PROJECTION} \(of Linear\) is tuned, .* --format hf"):
        exported(projection, "peft")


def test_its_card_says_what_is_tuned(
    projection: SavedModel, tmp_path: Path, embedded: Backbone
) -> None:
    out = tmp_path / "card"
    assert main(["export", str(projection.delta), "--format", "hf", "--out", str(out)]) == 0
    count = embedded.clip.visual_projection.weight.numel()
    said = f"Tuned: `projection`, {count:,} numbers of it; `projection` is image projection"
    assert said in (out / "README.md").read_text(encoding="utf-8")
