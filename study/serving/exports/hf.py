"""The format ``hf``: an ordinary Hugging Face folder, which transformers loads."""

from pathlib import Path

from study.serving.classifier import TunedClassifier
from study.serving.exports.classes import (
    classification_code,
    crop_notes,
    import_lines,
    transformers_encoding,
    write_head,
)
from study.serving.exports.format import ExportGuide
from study.serving.exports.model_folder import save_merged
from study.serving.saved_model import SavedModel


def write_hf(saved: SavedModel, model: TunedClassifier, folder: Path) -> ExportGuide:
    """Write the tuned model, its tokenizer and its preprocessing; see `Format.write`."""
    save_merged(folder, model.backbone)
    write_head(folder, model)
    libraries = "from transformers import AutoImageProcessor, AutoModel, AutoTokenizer"
    loading = f"""\
{import_lines(model, libraries)}
torch.set_grad_enabled(False)
folder = "."  # the folder of this file
model = AutoModel.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
{classification_code(saved, model, transformers_encoding(model.backbone))}"""
    return ExportGuide(loading, limits=crop_notes(model.backbone))
