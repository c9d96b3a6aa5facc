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


def test_a_checkpoint_folder_loads_as_it_was_saved(checkpoint: Path, backbone: Backbone):
    loaded = load_backbone(checkpoint)
    for name in ("fingerprint", "image_size", "image_mean", "image_std"):
        assert getattr(loaded, name) == getattr(backbone, name)
    assert loaded.name == str(checkpoint)
    assert torch.equal(loaded.tokenize(["a red cat"]), backbone.tokenize(["a red cat"]))
    assert not any(p.requires_grad for p in loaded.clip.parameters())
    assert not loaded.clip.training
    assert fingerprint(loaded.clip) == loaded.fingerprint
    with torch.no_grad():
        loaded.clip.logit_scale += 1e-3
    assert fingerprint(loaded.clip) != loaded.fingerprint


def test_half_precision_weights_are_loaded_as_float32(checkpoint: Path, backbone: Backbone):
    backbone.clip.half().save_pretrained(checkpoint)
    assert json.loads((checkpoint / "config.json").read_text())["dtype"] == "float16"
    assert {p.dtype for p in load_backbone(checkpoint).clip.parameters()} == {torch.float32}


def no_tokenizer(folder: Path):
    for file in folder.glob("tokenizer*"):
        file.unlink()


def weights(**changes: torch.Tensor | None) -> Callable[[Path], None]:
    """Change tensors of a checkpoint; "__" in their names is a dot."""
    tensors = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return lambda folder: change_weights(folder / "model.safetensors", tensors)


def written(file: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(text)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "corrupt": (
        written("model.safetensors", "\0" * 200),
        r"weights that cannot be read \(.*: was the file written whole",
    ),
    "pickled": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "no weights in safetensors format",
    ),
    "lacking": (
        weights(vision_model__post_layernorm__bias=None),
        r"lacks 1 tensors of a CLIPModel, first vision_model\.post_layernorm\.bias",
    ),
    "misshapen": (
        weights(text_projection__weight=torch.zeros(24, 31)),
        r"1 tensors of another shape .* text_projection\.weight: \(24, 31\) in the weights",
    ),
    "zeros": (
        weights(visual_projection__weight=torch.zeros(24, 32)),
        r"nothing but zeros in visual_projection\.weight",
    ),
    "no_tokenizer": (no_tokenizer, "tokenizer without words"),
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


def test_without_preprocessing_of_its_own_a_checkpoint_has_that_of_openai(checkpoint: Path):
    side = load_backbone(checkpoint).image_size
    (checkpoint / "preprocessor_config.json").unlink()
    backbone = load_backbone(checkpoint)
    assert backbone.image_mean == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)
    assert backbone.image_std == pytest.approx((0.2686, 0.2613, 0.2758), abs=1e-4)
    assert backbone.processor.crop_size["height"] == backbone.image_size == side


SOUND = {"a.weight": np.ones((2, 3)), "a.bias": np.zeros(3), "b.weight": np.array([0.0, -1.0])}


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_sound_weights_have_no_fault_in_any_type(dtype: str):
    assert find_weights_fault((n, v.astype(dtype)) for n, v in SOUND.items()) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_float32_cannot_hold_is_named(value: float):
    broken = {"a.bias": np.array([0.0, value, 1.0]), "b.weight": np.array([value])}
    assert find_weights_fault({**SOUND, **broken}.items()) == "NaN or infinity in a.bias"
