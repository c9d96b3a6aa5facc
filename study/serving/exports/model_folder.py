"""Write a model as a folder of transformers, with its preprocessing."""

from pathlib import Path

from study.backbones.backbone import Backbone
from study.backbones.hub import silence_transformers
from study.backbones.siglip import with_published_names


def save_merged(folder: Path, backbone: Backbone) -> None:
    """Write a tuned backbone as a Hugging Face folder with float32 weights."""
    with silence_transformers():  # which would show a progress bar for one file
        with_published_names(backbone.clip).save_pretrained(folder)
    save_preprocessing(folder, backbone)


def save_preprocessing(folder: Path, backbone: Backbone) -> None:
    """Write the tokenizer and the image processor into a folder, as transformers reads them."""
    for part in (backbone.tokenizer, backbone.processor):
        if part is not None:
            part.save_pretrained(folder)
