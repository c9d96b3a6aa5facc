"""The format ``hf``: an ordinary Hugging Face folder, which transformers loads."""

from pathlib import Path

from study.backbones.backbone import Backbone
from study.backbones.hub import silence_transformers
from study.backbones.siglip import with_published_names
from study.serving.classifier import TunedClassifier
from study.serving.exports.format import ExportGuide, crop_notes, render_guide, write_head
from study.serving.saved_model import SavedModel


def write_hf(saved: SavedModel, model: TunedClassifier, folder: Path) -> ExportGuide:
    """Write the tuned model, its tokenizer and its preprocessing; see `Format.write`."""
    save_merged(folder, model.backbone)
    write_head(folder, model)
    loading = render_guide("loading.py.jinja", saved, model, format="hf")
    return ExportGuide(loading, crop_notes(model.backbone))


def save_merged(folder: Path, backbone: Backbone) -> None:
    """Write a tuned backbone as a Hugging Face folder with float32 weights."""
    with silence_transformers():  # which would show a progress bar for one file
        with_published_names(backbone.clip).save_pretrained(folder)
    save_preprocessing(folder, backbone)


def save_preprocessing(folder: Path, backbone: Backbone) -> None:
    """Write the tokenizer and the image processor into a folder, as transformers reads them."""
    backbone.tokenizer.save_pretrained(folder)
    if backbone.processor is not None:
        backbone.processor.save_pretrained(folder)
