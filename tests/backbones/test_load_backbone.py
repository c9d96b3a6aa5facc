"""A folder becomes a checkpoint that is loaded and checked, or an error says what it lacks."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import find_weights_fault, load_backbone
from study.errors import BackboneError

MakeBackbone = Callable[..., Backbone]
Weights = dict[str, NDArray[np.floating]]


def test_a_checkpoint_folder_loads_as_it_was_saved(checkpoint: Path, backbone: Backbone) -> None:
    loaded = load_backbone(checkpoint)
    assert loaded.fingerprint == backbone.fingerprint
    assert loaded.name == str(checkpoint)
    assert (loaded.image_size, loaded.image_mean) == (16, (0.5, 0.5, 0.5))
    assert loaded.image_std == (0.25, 0.25, 0.25)
    assert torch.equal(loaded.tokenize(["a red cat"]), backbone.tokenize(["a red cat"]))
    assert not any(p.requires_grad for p in loaded.clip.parameters())
    assert not loaded.clip.training


def test_half_precision_weights_are_loaded_as_float32(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    save_file(
        {name: t.half() for name, t in tensors.items()},
        checkpoint / "model.safetensors",
        {"format": "pt"},
    )
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    assert {p.dtype for p in load_backbone(checkpoint).clip.parameters()} == {torch.float32}


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def corrupt(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x00" * 200)


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def rewritten(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def lacking(folder: Path) -> None:
    rewritten(folder, lambda tensors: tensors.pop("vision_model.post_layernorm.bias"))


def misshapen(folder: Path) -> None:
    rewritten(
        folder, lambda tensors: tensors.update({"text_projection.weight": torch.zeros(24, 31)})
    )


def not_finite(folder: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors["text_projection.weight"][3, 4] = torch.nan
        tensors["vision_model.encoder.layers.1.mlp.fc1.bias"][7] = -torch.inf

    rewritten(folder, spoil)


def zero_at_the_end(folder: Path) -> None:
    rewritten(folder, lambda tensors: tensors["visual_projection.weight"].zero_())


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def strange_activation(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["hidden_act"] = "none such"
    (folder / "config.json").write_text(json.dumps(config))


def strange_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"image_mean": "dark", "image_std": 1}')


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (nothing, "no weights in safetensors format and no config.json"),
    (corrupt, r"weights that cannot be read \(.*: was the file written whole"),
    (truncated, r"weights that cannot be read \(.*: was the file written whole"),
    (pickled, "no weights in safetensors format"),
    (lacking, r"lacks 1 tensors of a CLIPModel, first vision_model\.post_layernorm\.bias"),
    (
        misshapen,
        r"1 tensors of another shape .* text_projection\.weight: \(24, 31\) in the weights",
    ),
    (not_finite, r"NaN or infinity in 2 of its \d+ tensors, first vision_model\..*fc1\.bias"),
    (zero_at_the_end, r"nothing but zeros in 1 of .*, first visual_projection\.weight"),
    (no_tokenizer, "tokenizer without words"),
    (strange_activation, "cannot be loaded"),
    (strange_processor, "cannot be loaded"),
]


@pytest.mark.parametrize(("damage", "message"), FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_checkpoint_that_cannot_be_used_is_a_backbone_error_that_names_it(
    checkpoint: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(checkpoint)
    with pytest.raises(BackboneError, match=f"(?s)'{checkpoint}' .*({message})"):
        load_backbone(checkpoint)


def test_without_preprocessing_of_its_own_a_checkpoint_has_that_of_openai(checkpoint: Path) -> None:
    side = load_backbone(checkpoint).image_size
    (checkpoint / "preprocessor_config.json").unlink()
    backbone = load_backbone(checkpoint)
    assert backbone.image_mean == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)
    assert backbone.image_std == pytest.approx((0.2686, 0.2613, 0.2758), abs=1e-4)
    assert backbone.processor.crop_size["height"] == backbone.image_size == side


class Planted:
    """Unpickling it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.trace,)


def test_pickled_weights_are_never_opened(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save({"x": Planted(tmp_path / "trace")}, checkpoint / "pytorch_model.bin")
    with pytest.raises(BackboneError):
        load_backbone(checkpoint)
    assert not (tmp_path / "trace").exists()
    torch.load(checkpoint / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "trace").exists(), "the trap itself works"


def weights(**changes: NDArray[np.floating]) -> Weights:
    """Three sound tensors, one of which is a bias of zeros, and the changes."""
    sound = {"a.weight": np.ones((2, 3)), "a.bias": np.zeros(3), "b.weight": np.array([0.0, -1.0])}
    return {**sound, **{name.replace("_", "."): values for name, values in changes.items()}}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_sound_weights_have_no_fault_in_any_type(dtype: str) -> None:
    assert find_weights_fault((n, v.astype(dtype)) for n, v in weights().items()) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_float32_cannot_hold_is_named_with_its_first_tensor(value: float) -> None:
    broken = weights(a_bias=np.array([0.0, value, 1.0]), b_weight=np.array([value]))
    told = find_weights_fault(broken.items())
    assert told == "NaN or infinity in 2 of its 3 tensors, first a.bias"


def test_a_weight_of_zeros_is_a_fault_and_a_bias_of_zeros_is_none() -> None:
    told = find_weights_fault(weights(b_weight=np.zeros(2)).items())
    assert told == "nothing but zeros in 1 of its 3 tensors, first b.weight"
