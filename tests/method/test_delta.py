import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save, save_file
from torch import Tensor

from study.backbones.backbone import Backbone
from study.errors import DeltaError
from study.method.delta import (
    HEAD_CLASSES,
    HEAD_ROWS,
    KIND,
    apply_delta,
    from_checked_bytes,
    load_delta,
    read_head,
    save_delta,
    to_checked_bytes,
)
from study.storage.result_folder import FORMAT
from tests.damage import cut, flip
from tests.small_deltas import INFO

TENSORS = {
    "a": torch.tensor([[0.5, -0.0], [1e-45, 3e38]]),
    "b": torch.arange(5, dtype=torch.uint8),
    "c": torch.tensor(7.0, dtype=torch.bfloat16),
    "d": torch.rand(2, 3, generator=torch.Generator().manual_seed(0)).T,
}
METADATA = {"epoch": "3", "name": "naïve 🐈\n"}


def test_tensors_and_metadata_come_back_to_the_bit(tmp_path: Path):
    file = tmp_path / "delta.safetensors"
    for info in (INFO, replace(INFO, revision="main", class_names=(), pixel_range=(-0.5, 4095))):
        save_delta(file, TENSORS, info)
        tensors, read = load_delta(file)
        assert read == info
        assert tensors.keys() == TENSORS.keys()
        for name, tensor in TENSORS.items():
            assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
            bits = tensor.contiguous().reshape(-1).view(torch.uint8)
            assert torch.equal(tensors[name].reshape(-1).view(torch.uint8), bits)


def rewrite(path: Path, info: str, file_format: str = f"{KIND}{FORMAT}"):
    metadata = {"format": file_format, "info": info}
    path.write_bytes(to_checked_bytes({"x": torch.zeros(1)}, metadata))


def become_pipe(path: Path):
    """Put a named pipe in its place, which nobody writes to."""
    path.unlink()
    os.mkfifo(path)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "cannot be read"),
    "cut": (cut, "cannot be read"),
    "a flipped number": (flip, "do not match its checksum"),
    "no metadata": (partial(save_file, {"x": torch.zeros(1)}), "is not a delta.*''"),
    "other format": (
        partial(rewrite, info="{}", file_format="pt"),
        f"not a delta.*'pt'.*'{KIND}{FORMAT}'",
    ),
    "nested": (partial(rewrite, info="[" * 100_000), "damaged metadata.*recursion"),
    "a pipe": (become_pipe, "is not a file; expected a delta"),
    "a list": (partial(rewrite, info="[]"), "damaged metadata.*fingerprint"),
}


@pytest.mark.parametrize("damage, message", FAULTS.values(), ids=FAULTS)
def test_a_file_that_is_no_sound_delta_is_refused_by_name(
    path: Path, damage: Callable[[Path], object], message: str
):
    damage(path)
    with pytest.raises(DeltaError, match=f"(?s){path}.*{message}"):
        load_delta(path)


@pytest.mark.parametrize(
    "field, value",
    [
        ("fingerprint", None),
        ("x", 1),
        ("class_names", "cat"),
        ("class_names", [1]),
        ("pixel_range", "wide"),
        ("pixel_range", [0, "white"]),
        ("pixel_range", [-1.7e308, 1.7e308]),
        ("pixel_range", [0, 10**400]),
    ],
)
def test_metadata_that_are_not_sound_are_refused(path: Path, field: str, value: object):
    rewrite(path, json.dumps(asdict(INFO) | {field: value}))
    with pytest.raises(DeltaError, match=f"{path}.*damaged metadata.*{field}"):
        load_delta(path)


@pytest.mark.parametrize(
    "name, tensor, message",
    [
        (
            "vision_model.no_such.bias",
            torch.zeros(32),
            r"vision_model\.no_such\.bias.*the model does not",
        ),
        ("vision_model.post_layernorm.bias", torch.zeros(1), r"\(1,\).*\(32,\)"),
        ("vision_model.post_layernorm.bias", torch.full((32,), torch.nan), "not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_and_nothing_is_written(
    backbone: Backbone, tensors: dict[str, Tensor], name: str, tensor: Tensor, message: str
):
    before = {n: p.clone() for n, p in backbone.clip.named_parameters()}
    with pytest.raises(DeltaError, match=message):
        apply_delta(backbone.clip, {**tensors, name: tensor})
    assert all(torch.equal(p, before[n]) for n, p in backbone.clip.named_parameters())


@pytest.mark.parametrize(
    "changes",
    [
        {HEAD_CLASSES: torch.tensor([0, 3])},
        {HEAD_CLASSES: torch.tensor([0])},
        {HEAD_CLASSES: torch.tensor([0.0, 1.0])},
        {HEAD_CLASSES: None},
        {HEAD_ROWS: None},
        {HEAD_ROWS: torch.full((2, 24), torch.nan)},
    ],
    ids=str,
)
def test_a_head_that_is_no_sound_one_is_refused(headed: Path, changes: dict[str, Tensor | None]):
    tensors, info = load_delta(headed)
    changed = {name: t for name, t in {**tensors, **changes}.items() if t is not None}
    with pytest.raises(DeltaError, match=r"the delta's head|the head in the delta"):
        read_head(changed, info)


def test_equal_contents_are_equal_bytes():
    assert from_checked_bytes(to_checked_bytes({}, METADATA)) == ({}, METADATA)
    expected = to_checked_bytes(TENSORS, METADATA)
    for _ in range(8):  # the library orders metadata by chance
        again = to_checked_bytes(dict(reversed(TENSORS.items())), dict(reversed(METADATA.items())))
        assert again == expected


def test_no_byte_of_it_can_change_unseen_and_its_hash_must_be_there():
    contents = to_checked_bytes({"a": torch.tensor([1.5, 2.5])}, {"epoch": "3"})
    kept = from_checked_bytes(contents)
    for place in range(len(contents)):
        changed = bytearray(contents)
        changed[place] ^= 1
        try:
            tensors, metadata = from_checked_bytes(bytes(changed))
        except (SafetensorError, ValueError):
            continue
        # What pads the header means nothing.
        assert (list(tensors), metadata) == (list(kept[0]), kept[1]), place
        assert torch.equal(tensors["a"], kept[0]["a"]), place
    with pytest.raises(ValueError, match="do not match its checksum"):
        from_checked_bytes(save({"b": TENSORS["b"]}, METADATA))
