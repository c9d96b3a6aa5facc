"""A Hugging Face folder has the pixels of transformers, but for some shapes, and a model card."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, CLIPImageProcessor, CLIPModel

from study.backbones.backbone import Backbone, fingerprint
from study.commands.main import main
from study.data.images.table import normalize
from study.method.model import FewShotClassifier
from study.serving.classifier import load_classifier
from study.serving.exports.hf import save_merged


@pytest.mark.parametrize("shape, beside", [((45, 40), 0), ((40, 34), 0), ((35, 32), 1)])
def test_transformers_crops_some_shapes_a_pixel_beside(
    make_delta: Any, exported: Any, shape: tuple[int, int], beside: int
):
    saved = make_delta("none")
    folder, written = exported(saved, "hf")
    assert len(written.notes) == 1
    model = saved.load_classifier()
    image = Image.effect_noise(shape, 99).convert("RGB")
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    theirs = processor(image, return_tensors="pt")["pixel_values"]
    pixels = torch.tensor(model.read_pixels(image))[None].permute(0, 3, 1, 2)
    ours = normalize(pixels, model.backbone.image_mean, model.backbone.image_std)
    width = model.backbone.image_size - beside
    torch.testing.assert_close(theirs[..., beside:], ours[..., :width], atol=1e-6, rtol=0)


def test_its_card_names_a_tuned_projection(make_delta: Any, tmp_path: Path, embedded: Backbone):
    saved, out = make_delta("none", projection=True), tmp_path / "card"
    assert main(["export", str(saved.delta), "--format", "hf", "--out", str(out)]) == 0
    count = embedded.clip.visual_projection.weight.numel()
    assert f"Tuned: `projection` ({count:,} parameters)" in (out / "README.md").read_text()


def test_a_merged_folder_is_an_ordinary_checkpoint_of_the_tuned_model(
    checkpoint: Path, path: Path, tuned: FewShotClassifier, tmp_path: Path
):
    out = tmp_path / "merged"
    texts = ["a red cat", "dog"]
    model = load_classifier(path, backbone=str(checkpoint), class_names=texts)
    save_merged(out, model.backbone)
    assert fingerprint(CLIPModel.from_pretrained(out)) == fingerprint(tuned.clip)
    before, after = (AutoTokenizer.from_pretrained(folder)(texts) for folder in (checkpoint, out))
    assert before["input_ids"] == after["input_ids"]
    assert list(CLIPImageProcessor.from_pretrained(out).image_std) == [0.25, 0.25, 0.25]
    assert {p.name for p in out.iterdir()} == {p.name for p in checkpoint.iterdir()}
