"""Write a model as a folder of transformers, with its preprocessing and its linear head."""

import json
from pathlib import Path

from study.backbones.backbone import Backbone
from study.backbones.hub import silence_transformers
from study.backbones.siglip import with_published_names
from study.method.delta import to_checked_bytes
from study.method.head import Head

MERGED_HEAD = "head.safetensors"
"""The file of a linear head, which is not part of a merged model."""


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


def save_head(folder: Path, head: Head) -> None:
    """Write a linear head, which is not part of a CLIP model, into a folder as `MERGED_HEAD`.

    The tensor ``rows`` is (classes, dim) float32 of unit length. In the metadata, ``class_names``
    is a JSON list with the name of each row's class.
    """
    contents = to_checked_bytes({"rows": head.rows}, {"class_names": json.dumps(head.classes)})
    (folder / MERGED_HEAD).write_bytes(contents)
