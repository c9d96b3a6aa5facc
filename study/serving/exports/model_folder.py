"""A model as a folder of transformers, and what lies beside a model there."""

import json
from pathlib import Path

from study.backbones.backbone import Backbone
from study.backbones.hub import silence_transformers
from study.backbones.siglip import with_published_names
from study.method.delta import to_checked_bytes
from study.method.head import Head

MERGED_HEAD = "head.safetensors"
"""The file of a linear head beside a merged model, of which it is no part."""


def save_merged(folder: Path, backbone: Backbone) -> None:
    """Write a backbone with what was tuned as a Hugging Face folder; its weights are float32."""
    with silence_transformers():  # a bar for one file
        with_published_names(backbone.clip).save_pretrained(folder)
    save_preprocessing(folder, backbone)


def save_preprocessing(folder: Path, backbone: Backbone) -> None:
    """Write how texts and images are prepared into a folder, as transformers reads it."""
    for part in (backbone.tokenizer, backbone.processor):
        if part is not None:
            part.save_pretrained(folder)


def save_head(folder: Path, head: Head) -> None:
    """Write a linear head, which is no part of a CLIP model, as `MERGED_HEAD` into a folder.

    The tensor ``rows`` is (classes, dim) float32 of unit length. In the metadata, ``class_names``
    is a JSON list with the name of each row's class.
    """
    contents = to_checked_bytes({"rows": head.rows}, {"class_names": json.dumps(head.classes)})
    (folder / MERGED_HEAD).write_bytes(contents)
