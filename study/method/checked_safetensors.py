"""Safetensors files that carry a hash of their contents, so that reading detects any damage."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

SEAL = "sha256"
"""The metadata key of the hash."""


def to_checked_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file with these tensors and metadata, and their hash.

    Equal tensors and metadata give equal bytes.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    contents = save(kept, {**metadata, SEAL: _hash(kept, metadata)})
    header, end = _read_header(contents)
    # The library writes the metadata in a random order.
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the library aligns the tensors to 8 bytes
    return len(text).to_bytes(8, "little") + text + contents[end:]


def from_checked_bytes(
    contents: bytes, *, strict: bool = True
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and metadata of a file of `to_checked_bytes`. Nothing in it is executed.

    Args:
        contents: the bytes of the file.
        strict: whether a file without a hash is an error, too.

    Raises:
        SafetensorError: the file is truncated, or is not in safetensors format.
        ValueError: the contents do not match the hash, or ``strict`` finds no hash.
    """
    tensors = load(contents)
    metadata: dict[str, str] = _read_header(contents)[0].get("__metadata__") or {}
    recorded = metadata.pop(SEAL, None)
    if recorded != _hash(tensors, metadata) and (strict or recorded is not None):
        raise ValueError("its contents are not those that were written")
    return tensors, metadata


def _read_header(contents: bytes) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and the offset in bytes at which it ends."""
    end = 8 + int.from_bytes(contents[:8], "little")
    return json.loads(contents[8:end]), end


def _hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
