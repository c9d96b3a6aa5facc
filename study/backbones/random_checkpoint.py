"""A checkpoint with random weights of the shapes of ViT-B, to try things that need real sizes."""

import json
import shutil
from pathlib import Path

import torch

from study.backbones.hub import silence_transformers

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
"""The files of a tokenizer."""


def write_random_checkpoint(folder: Path, like: Path, patch: int) -> Path:
    """Write a CLIP with random weights, the same each time, and return its folder.

    Args:
        folder: the folder; nothing is written if it exists.
        like: the folder of the checkpoint that has the tokenizer.
        patch: the side of a patch in pixels: 16 for the shapes of ViT-B/16.
    """
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    if folder.exists():
        return folder
    tokens = json.loads((like / "config.json").read_text(encoding="utf-8"))["text_config"]
    text = {key: tokens[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = CLIPConfig(text_config=text, vision_config={"patch_size": patch})
    unfinished = folder.with_name(f".{folder.name}")
    with silence_transformers(), torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).eval().save_pretrained(unfinished)
    CLIPImageProcessor().save_pretrained(unfinished)
    for name in TOKENIZER:
        shutil.copy(like / name, unfinished)
    unfinished.rename(folder)
    return folder
