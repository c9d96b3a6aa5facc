"""Small random OpenCLIP checkpoints, made by ``open_clip`` itself."""

import json
from pathlib import Path
from typing import Any

import open_clip
from safetensors.torch import save_file

from study.backbones.openclip_checkpoint import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS
from study.storage.result_folder import JsonObject
from tests.small_clips import randomize

MODEL: JsonObject = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"width": 32, "heads": 2, "layers": 2, "mlp_ratio": 2.0},
}


def write_open_clip(folder: Path, changes: JsonObject, prepared: JsonObject | None = None) -> Any:
    """Write a random checkpoint, and return the model of ``open_clip``."""
    folder.mkdir(exist_ok=True)
    model_cfg = {**MODEL, **changes}
    contents = {"model_cfg": model_cfg, "preprocess_cfg": prepared or {}}
    (folder / OPEN_CLIP_CONFIG).write_text(json.dumps(contents))
    theirs = make_open_clip(model_cfg)
    randomize(theirs, 0.1)
    save_file(theirs.state_dict(), folder / OPEN_CLIP_WEIGHTS)
    return theirs


def make_open_clip(model_cfg: JsonObject) -> Any:
    values = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    kind = open_clip.CustomTextCLIP if model_cfg.get("custom_text") else open_clip.CLIP
    return kind(**json.loads(json.dumps(values))).eval()
