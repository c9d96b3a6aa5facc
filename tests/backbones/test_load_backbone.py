"""A folder becomes a checkpoint that is loaded and checked, or an error says what it lacks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from study.backbones.backbone import Backbone, fingerprint
from study.backbones.load_backbone import find_weights_fault, load_backbone
from study.errors import BackboneError
from tests.damage import change_weights


def test_half_precision_weights_are_loaded_as_frozen_float32(checkpoint: Path, backbone: Backbone):
    backbone.clip.half().save_pretrained(checkpoint)
    assert json.loads((checkpoint / "config.json").read_text())["dtype"] == "float16"
    loaded = load_backbone(checkpoint)
    assert {p.dtype for p in loaded.clip.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in loaded.clip.parameters())
    assert not loaded.clip.training
    assert fingerprint(loaded.clip) == loaded.fingerprint == fingerprint(backbone.clip.float())
    with torch.no_grad():
        loaded.clip.logit_scale += 1e-3
    assert fingerprint(loaded.clip) != loaded.fingerprint


def no_tokenizer(folder: Path):
    for file in folder.glob("tokenizer*"):
        file.unlink()


def weights(name: str, tensor: torch.Tensor | None) -> Callable[[Path], None]:
    return lambda folder: change_weights(folder / "model.safetensors", {name: tensor})


def written(file: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(text)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "corrupt": (
        written("model.safetensors", "\0" * 200),
        r"cannot be read \(.*; is the file complete",
    ),
    "pickled": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "lacks weights in safetensors format",
    ),
    "lacking": (
        weights("vision_model.post_layernorm.bias", None),
        r"lacks 1 tensors of a CLIPModel, such as vision_model\.post_layernorm\.bias",
    ),
    "misshapen": (
        weights("text_projection.weight", torch.zeros(24, 31)),
        r"1 tensors differ in shape, .* text_projection\.weight, which has \(24, 31\)",
    ),
    "zeros": (
        weights("visual_projection.weight", torch.zeros(24, 32)),
        r"only zeros in visual_projection\.weight",
    ),
    "no_tokenizer": (no_tokenizer, "has no vocabulary"),
    "corrupt_tokenizer": (written("tokenizer.json", "{"), "cannot be loaded"),
    "strange_processor": (
        written("preprocessor_config.json", '{"image_mean": "dark", "image_std": 1}'),
        "cannot be loaded",
    ),
}


@pytest.mark.parametrize("damage, message", FAULTS.values(), ids=FAULTS)
def test_a_checkpoint_that_cannot_be_used_is_a_backbone_error_that_names_it(
    checkpoint: Path, damage: Callable[[Path], object], message: str
):
    damage(checkpoint)
    with pytest.raises(BackboneError, match=f"(?s)'{checkpoint}' .*({message})"):
        load_backbone(checkpoint)


def test_images_are_normalised_as_the_checkpoint_says_or_as_for_openai(checkpoint: Path):
    backbone = load_backbone(checkpoint)
    assert (backbone.image_mean, backbone.image_std) == ((0.5,) * 3, (0.25,) * 3)
    (checkpoint / "preprocessor_config.json").unlink()
    backbone = load_backbone(checkpoint)
    assert backbone.image_mean == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)
    assert backbone.image_std == pytest.approx((0.2686, 0.2613, 0.2758), abs=1e-4)
    assert backbone.processor.crop_size["height"] == backbone.image_size == 16


SOUND = {"a.weight": np.ones((2, 3)), "a.bias": np.zeros(3), "b.weight": np.array([0.0, -1.0])}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_float32_cannot_hold_is_named(value: float):
    for dtype in ("float16", "float64"):
        assert find_weights_fault((n, v.astype(dtype)) for n, v in SOUND.items()) is None
    broken = {"a.bias": np.array([0.0, value, 1.0]), "b.weight": np.array([value])}
    assert find_weights_fault({**SOUND, **broken}.items()) == "NaN or infinity in a.bias"
