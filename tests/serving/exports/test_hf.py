"""A Hugging Face folder has the pixels that transformers prepares, but for some shapes."""

from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor

from study.data.images.table import normalize
from tests.case_tables import from_table


@from_table
def test_transformers_crops_some_shapes_a_pixel_beside(
    make_delta: Any, exported: Any, shape: tuple[int, int], beside: int
):
    saved = make_delta("none")
    folder, written = exported(saved, "hf")
    (note,) = (note for note in written.limits if "crops one pixel beside" in note)
    assert "16:9" not in note, "which holds at 224 pixels alone"
    model = saved.load_classifier()
    image = Image.effect_noise(shape, 99).convert("RGB")
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    theirs = processor(image, return_tensors="pt")["pixel_values"]
    pixels = torch.tensor(model.read_pixels(image))[None].permute(0, 3, 1, 2)
    ours = normalize(pixels, model.backbone.image_mean, model.backbone.image_std)
    width = model.backbone.image_size - beside
    torch.testing.assert_close(theirs[..., beside:], ours[..., :width], atol=1e-6, rtol=0)
