"""Safetensors files that carry a hash of what they hold, so that no flipped byte is used unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from safetensors.torch import load, save
from torch import Tensor

SEAL = "sha256"
"""The key of the hash among a file's metadata."""
METADATA = "__metadata__"


def to_checked_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Give the contents of a file of these tensors and metadata, with their hash in it.

    Equal tensors and metadata are equal bytes.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return _in_order(save(kept, {**metadata, SEAL: _hash(kept, metadata)}))


def from_checked_bytes(
    contents: bytes, *, strict: bool = True
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Give tensors and metadata of such a file. Nothing in it is executed.

    Args:
        contents: of the file.
        strict: whether a file without a hash is a fault, too.

    Raises:
        SafetensorError: it is cut, or no safetensors file.
        ValueError: it holds something else than was written.
    """
    tensors = load(contents)
    metadata: dict[str, str] = dict(json.loads(contents[8 : _start(contents)]).get(METADATA) or {})
    sealed = metadata.pop(SEAL, None)
    if sealed != _hash(tensors, metadata) and (strict or sealed is not None):
        raise ValueError("its contents are not those that were written")
    return tensors, metadata


def _in_order(contents: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which the library writes in a random order."""
    header = json.loads(contents[8 : _start(contents)])
    header[METADATA] = dict(sorted(header[METADATA].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as the library has it
    return len(text).to_bytes(8, "little") + text + contents[_start(contents) :]


def _start(contents: bytes) -> int:
    """Give where a file's header ends and its tensors begin."""
    return 8 + int.from_bytes(contents[:8], "little")


def _hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
