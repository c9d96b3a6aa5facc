"""The delta: the tuned parameters alone, as a safetensors file that says what it belongs to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from transformers import CLIPModel

from study.errors import DeltaError

FORMAT = "clipfit-delta-1"


@dataclass(frozen=True)
class DeltaInfo:
    """What a delta needs to be used again."""

    backbone: str
    """Hub name or folder."""
    revision: str | None
    fingerprint: str
    """Of the untouched backbone; see `study.method.model.fingerprint`."""
    subset: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]


def save_delta(path: Path, tensors: Mapping[str, Tensor], info: DeltaInfo) -> None:
    """Write the tuned tensors by transformers name, atomically."""
    metadata = {"format": FORMAT, "info": json.dumps(asdict(info))}
    contents = save({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, metadata)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_delta(path: Path) -> tuple[dict[str, Tensor], DeltaInfo]:
    """Read a delta.

    Raises:
        DeltaError: the file is missing, damaged, or no delta.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DeltaError(f"delta {path} cannot be read: {error}") from error
    if metadata.get("format") != FORMAT:
        raise DeltaError(
            f"{path} is no delta: its format is {metadata.get('format')!r}, allowed is '{FORMAT}'"
        )
    try:
        info = json.loads(metadata["info"])
        info |= {key: tuple(info[key]) for key in ("class_names", "templates")}
        return tensors, DeltaInfo(**info)
    except (KeyError, TypeError, ValueError) as error:
        raise DeltaError(f"delta {path} has damaged metadata: {error}") from error


@torch.no_grad()
def apply_delta(model: CLIPModel, tensors: Mapping[str, Tensor]) -> None:
    """Write tuned tensors into a model of the same architecture, in place.

    Raises:
        DeltaError: a name or shape is not the model's; nothing was written.
    """
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        if name not in parameters:
            raise DeltaError(f"the delta holds {name}, which the model does not have")
        if parameters[name].shape != tensor.shape:
            raise DeltaError(
                f"{name} is {tuple(tensor.shape)} in the delta and "
                f"{tuple(parameters[name].shape)} in the model"
            )
    for name, tensor in tensors.items():
        parameters[name].copy_(tensor)
