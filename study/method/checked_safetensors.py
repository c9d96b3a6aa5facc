"""Safetensors files that carry a hash of their contents, so that reading detects any damage."""

import hashlib
import json
from collections.abc import Mapping

import torch
from safetensors.torch import load, save
from torch import Tensor

SEAL = "sha256"
"""The metadata key of the hash."""
METADATA = "__metadata__"
"""The header key under which safetensors stores the metadata."""


def to_checked_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file with these tensors and metadata, and their hash.

    Equal tensors and metadata give equal bytes.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return _in_order(save(kept, {**metadata, SEAL: _hash(kept, metadata)}))


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
    metadata: dict[str, str] = dict(json.loads(contents[8 : _start(contents)]).get(METADATA) or {})
    recorded = metadata.pop(SEAL, None)
    if recorded != _hash(tensors, metadata) and (strict or recorded is not None):
        raise ValueError("its contents are not those that were written")
    return tensors, metadata


def _in_order(contents: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which the library writes in a random order."""
    header = json.loads(contents[8 : _start(contents)])
    header[METADATA] = dict(sorted(header[METADATA].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the library aligns the tensors to 8 bytes
    return len(text).to_bytes(8, "little") + text + contents[_start(contents) :]


def _start(contents: bytes) -> int:
    """Return the offset in bytes at which the header ends and the tensors begin."""
    return 8 + int.from_bytes(contents[:8], "little")


def _hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
