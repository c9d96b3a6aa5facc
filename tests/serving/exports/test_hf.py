"""A Hugging Face folder gives the tuned answers elsewhere, by transformers alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoImageProcessor

from study.data.datasets import load_dataset
from study.data.images.table import normalize
from study.serving.classifier import load_classifier
from tests.siglips import save_siglip

Make = Callable[..., Any]
MANY = ("a {}.", "the {}!", "this is {}")
TWO = """\
from transformers import AutoModel, AutoProcessor
model = AutoModel.from_pretrained('.')
processor = AutoProcessor.from_pretrained('.', backend='pil')
assert (type(model).__name__, type(processor).__name__) == ('CLIPModel', 'CLIPProcessor')
"""
"""The lines that load an ordinary folder."""


@pytest.mark.parametrize(("shape", "beside"), [((45, 40), 0), ((40, 34), 0), ((35, 32), 1)])
def test_transformers_crops_some_shapes_a_pixel_beside(
    make_delta: Make,
    exported: Make,
    shape: tuple[int, int],
    beside: int,
) -> None:
    folder, written = exported(make_delta("none"), "hf")
    (note,) = (note for note in written.limits if "crops one pixel beside" in note)
    assert "16:9" not in note, "which holds at 224 pixels alone"
    model, dataset = load_classifier(folder.parent / "delta.safetensors"), load_dataset("digits")
    images = [dataset.source.open_image(record.path).resize(shape) for record in dataset.test[:80]]
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    theirs = processor(images, return_tensors="pt")["pixel_values"]
    pixels = torch.stack([torch.tensor(model.read_pixels(image)) for image in images])
    backbone = model.backbone
    ours = normalize(pixels.permute(0, 3, 1, 2), backbone.image_mean, backbone.image_std)
    width = backbone.image_size - beside
    torch.testing.assert_close(theirs[..., beside:], ours[..., :width], atol=1e-6, rtol=0)
    with torch.no_grad():
        logits = model.model.logits(model.model.encode_image(theirs), model.class_features)
    differences = (logits.softmax(dim=-1) - model.probabilities(images)).abs()
    assert differences.max() <= (0.2 if beside else 1e-5)
    assert differences.mean() <= (0.003 if beside else 1e-6)
    assert (differences.max() > 0.1) == bool(beside)


@pytest.mark.long
@pytest.mark.parametrize(
    ("head", "templates"), [((), ("a {}.",)), ((2, 0, 7), ("a {}.",)), (range(10), MANY)]
)
def test_transformers_alone_gives_the_tuned_answers(
    make_delta: Make,
    assert_tuned_answers: Make,
    head: Sequence[int],
    templates: Sequence[str],
) -> None:
    saved = make_delta(head=head, templates=templates)
    folder, _ = assert_tuned_answers(saved, "hf", more=TWO)
    assert (folder / "head.safetensors").exists() == bool(head)
    assert not {path.suffix for path in folder.iterdir()} - {".json", ".safetensors"}


@pytest.mark.long
def test_a_siglip_gives_the_tuned_answers(
    make_telling: Make,
    assert_tuned_answers: Make,
    tmp_path: Path,
) -> None:
    saved = make_telling("bitfit", save_siglip(tmp_path / "siglip"))
    _, written = assert_tuned_answers(saved, "hf")
    assert written.limits == (), "nothing is cropped"
