"""The format ``hf``: an ordinary Hugging Face folder, which transformers loads."""

from pathlib import Path

from study.serving.classifier import TunedClassifier
from study.serving.exports.classes import crop_notes, render_guide, write_head
from study.serving.exports.format import ExportGuide
from study.serving.exports.model_folder import save_merged
from study.serving.saved_model import SavedModel


def write_hf(saved: SavedModel, model: TunedClassifier, folder: Path) -> ExportGuide:
    """Write the tuned model, its tokenizer and its preprocessing; see `Format.write`."""
    save_merged(folder, model.backbone)
    write_head(folder, model)
    loading = render_guide("loading.py.jinja", saved, model, format="hf")
    return ExportGuide(loading, limits=crop_notes(model.backbone))
