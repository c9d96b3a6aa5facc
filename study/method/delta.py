"""The delta: a safetensors file of the tuned parameters alone, which names its backbone.

Safetensors files of this project carry a hash of their contents, so that damage is detected.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from study.data.images.image_reading import PixelRange, check_range
from study.data.records import ClassNames, Templates
from study.errors import DataError, DeltaError
from study.method.head import Head
from study.storage.atomic import write_atomically
from study.storage.result_folder import FORMAT, KEY, JsonObject, refuse_other_format

Tensors = dict[str, Tensor]
"""Tensors by their names."""
KIND = "clipfit-delta-"
"""The prefix of the format's number in the header of a delta."""
HEAD_ROWS, HEAD_CLASSES = "head.rows", "head.classes"
"""The tensors of a linear head: its rows, and the index of each row's class name."""


@dataclass(frozen=True)
class DeltaInfo:
    """The facts needed to use a delta again."""

    backbone: str
    """The hub name or folder of the checkpoint that was tuned."""
    revision: str | None
    """The backbone's revision on the hub; None if the study named none."""
    fingerprint: str
    """The fingerprint of the untouched backbone; see `study.backbones.backbone.fingerprint`."""
    subset: str
    """The expression of the tuned subset; see `study.method.subsets`."""
    class_names: ClassNames
    """The names of all classes of the dataset, in the order of their ids."""
    templates: Templates
    """The prompt templates whose mean classifies, each with one ``{}``."""
    pixel_range: PixelRange | None = None
    """The values that become black and white, see `study.data.images.image_reading`."""


def save_delta(path: Path, tensors: Tensors, info: DeltaInfo) -> None:
    """Write the tuned tensors, by transformers name, atomically; equal deltas give equal files."""
    write_atomically(path, to_delta_bytes(tensors, info))


def to_delta_bytes(tensors: Tensors, info: DeltaInfo) -> bytes:
    """Return the bytes of a delta's file."""
    metadata = {KEY: f"{KIND}{FORMAT}", "info": json.dumps(asdict(info))}
    return to_checked_bytes(tensors, metadata)


def load_delta(path: Path) -> tuple[Tensors, DeltaInfo]:
    """Read a delta. Nothing in the file is executed.

    Raises:
        DeltaError: the file is missing or damaged, or is not a delta.
        FormatError: it is of another format.
    """
    try:
        if path.exists() and not path.is_file():  # to read a named pipe might never end
            raise DeltaError(f"{path} is not a file; expected a delta")
        with safe_open(path, "pt") as file:
            form = (file.metadata() or {}).get(KEY, "")
        if not form.startswith(KIND):
            raise DeltaError(
                f"{path} is not a delta: its format is {form!r}, expected '{KIND}{FORMAT}'"
            )
        refuse_other_format(path, form.removeprefix(KIND))
        tensors, metadata = from_checked_bytes(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as error:
        raise DeltaError(f"delta {path} cannot be read: {error}") from error
    try:
        info = read_info(json.loads(metadata["info"]))
    except (DataError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DeltaError(f"delta {path} has damaged metadata: {error}") from error
    return tensors, info


def read_info(values: Any) -> DeltaInfo:
    """Build a `DeltaInfo` from JSON values.

    Raises:
        ValueError: a field is missing, unknown or of another type; the message names it.
        DataError: the range of pixels is none.
    """
    names = [field.name for field in fields(DeltaInfo)]
    if not isinstance(values, dict) or values.keys() != set(names):
        raise ValueError(f"expected exactly {', '.join(names)}")
    facts: JsonObject = {}
    for name in names:
        value = values[name]
        match name, value:
            case ("backbone" | "revision" | "fingerprint" | "subset", str()) | ("revision", None):
                facts[name] = value
            case ("class_names" | "templates", [*texts]) if all(isinstance(t, str) for t in texts):
                facts[name] = tuple(texts)
            case ("pixel_range", None):
                facts[name] = None
            case ("pixel_range", [int() | float() as low, int() | float() as high]):
                facts[name] = check_range((low, high))
            case _:
                raise ValueError(f"{name} is {value!r}")
    return DeltaInfo(**facts)


def head_tensors(head: Head | None) -> Tensors:
    """Return the tensors by which a delta stores a head whose classes are ids.

    They are none without a head.
    """
    if not head:
        return {}
    return {HEAD_ROWS: head.rows.cpu(), HEAD_CLASSES: torch.tensor(head.classes)}


def read_head(tensors: Tensors, info: DeltaInfo) -> Head | None:
    """Return the linear head of a delta, with the ids of its classes; None if it has none.

    Raises:
        DeltaError: the head does not belong to the class names, or its rows are not finite.
    """
    if tensors.keys().isdisjoint({HEAD_ROWS, HEAD_CLASSES}):
        return None
    nothing = torch.empty(0, dtype=torch.int64)
    rows = tensors.get(HEAD_ROWS, nothing)
    classes = tensors.get(HEAD_CLASSES, nothing)
    ids = classes.tolist()
    count = len(info.class_names)
    are_ids = classes.dtype == torch.int64 and all(i in range(count) for i in ids)
    if not are_ids or rows.ndim != 2 or len(ids) != len(rows):
        raise DeltaError(
            f"the delta's head has weights of shape {tuple(rows.shape)} for the classes {ids}, "
            f"but there are {count} class names"
        )
    if not rows.isfinite().all():
        raise DeltaError("the head in the delta has values that are not finite")
    return Head(rows, tuple(ids))


def without_head(tensors: Tensors) -> Tensors:
    """Return the tensors of a delta that are parameters of its backbone, as its head is not."""
    head = (HEAD_ROWS, HEAD_CLASSES)
    return {name: tensor for name, tensor in tensors.items() if name not in head}


def apply_delta(model: nn.Module, tensors: Tensors) -> None:
    """Write tuned tensors into a model of the same architecture, in place.

    A linear head is no part of the model, so its tensors are passed over; see `read_head`.

    Raises:
        DeltaError: the model lacks a name, or a shape differs, or a value is not finite; the
            model is unchanged.
    """
    parameters = dict(model.named_parameters())
    tensors = without_head(tensors)
    for name, tensor in tensors.items():
        if name not in parameters:
            raise DeltaError(f"the delta has {name}, but the model does not")
        shape = parameters[name].shape
        if shape != tensor.shape:
            raise DeltaError(
                f"{name} is {tuple(tensor.shape)} in the delta and {tuple(shape)} in the model"
            )
        if not tensor.isfinite().all():
            raise DeltaError(f"{name} in the delta has values that are not finite")
    model.load_state_dict(tensors, strict=False)


def to_checked_bytes(tensors: Tensors, metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file with these tensors and metadata, and their hash.

    Equal tensors and metadata give equal bytes.
    """
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    contents = save(on_cpu, {**metadata, "sha256": _hash(on_cpu, metadata)})
    header, end = _read_header(contents)
    # The library writes the metadata in a random order.
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the library aligns the tensors to 8 bytes
    return len(text).to_bytes(8, "little") + text + contents[end:]


def from_checked_bytes(contents: bytes) -> tuple[Tensors, dict[str, str]]:
    """Return the tensors and metadata of a file of `to_checked_bytes`. Nothing in it is executed.

    Raises:
        SafetensorError: the file is truncated, or is not in safetensors format.
        ValueError: there is no hash, or the contents do not match it.
    """
    tensors = load(contents)
    header, _ = _read_header(contents)
    metadata = header.get("__metadata__") or {}
    recorded = metadata.pop("sha256", None)
    if recorded != _hash(tensors, metadata):
        raise ValueError("its contents do not match its checksum")
    return tensors, metadata


def _read_header(contents: bytes) -> tuple[JsonObject, int]:
    """Return the header of a safetensors file, and the offset in bytes at which it ends."""
    end = 8 + int.from_bytes(contents[:8], "little")
    return json.loads(contents[8:end]), end


def _hash(tensors: Tensors, metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        description = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
        digest.update(description.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
