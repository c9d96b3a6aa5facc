"""What an encoder gives in which nothing is tuned: computed once for every process that wants it.

It lies on disk beside the decoded images, under a name that follows from all that it depends on, so
that every trial, stage and study on the same storage finds it. Activations within an encoder are
far larger, and are kept by each process, see `study.trial.image_activations` and
`study.trial.prompt_activations`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from study.method.checked_safetensors import from_checked_bytes, to_checked_bytes
from study.method.model import Backbone, Precision
from study.storage.atomic import StorageError, read_if_there, write_atomically

FORM = "1"
"""Counts the ways in which features were computed; another one may round otherwise."""
logger = logging.getLogger(__name__)


def cached_features(
    folder: Path,
    what: Mapping[str, str],
    backbone: Backbone,
    precision: Precision,
    compute: Callable[[], Mapping[str, Tensor]],
) -> dict[str, Tensor]:
    """Give tensors from their file, or compute and write them.

    Of several processes that want them at once, one computes and the others wait. A file that is
    damaged is made again; where none can be written each process computes for itself.

    Args:
        folder: of the decoded images.
        what: tells these tensors from others of this backbone and precision.
        backbone: as it is loaded, on the device that computes.
        precision: of the encoders.
        compute: gives them; every call must give the same.
    """
    device = next(backbone.clip.parameters()).device
    of = {
        **what,
        "form": FORM,
        "backbone": backbone.fingerprint,
        "settings": _settings(backbone),
        "precision": precision,
        # Rounding differs between these, and a trial gives the same bytes wherever it runs.
        "device": device.type,
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
    }
    name = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:32]
    path = folder / f"frozen-{name}.safetensors"
    found = _read(path, of)
    if found is None:
        with _alone(path):
            found = _read(path, of)
            if found is None:
                found = {key: tensor.contiguous() for key, tensor in compute().items()}
                _write(path, to_checked_bytes(found, of))
    return {key: tensor.to(device) for key, tensor in found.items()}


def _settings(backbone: Backbone) -> str:
    """Hash what features depend on beside the weights, such as the activation and EOT's id."""
    config = backbone.clip.config.to_dict()
    for name in ("_name_or_path", "transformers_version"):
        config.pop(name, None)
    settings = [config, backbone.image_mean, backbone.image_std]
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: Path, of: Mapping[str, str]) -> dict[str, Tensor] | None:
    contents = read_if_there(path, path.read_bytes, known=path.parent)
    if contents is None:
        return None
    try:
        tensors, metadata = from_checked_bytes(contents)
        if metadata != of:
            raise ValueError("it is of something else than its name")
    except (SafetensorError, ValueError) as error:
        logger.warning("%s is damaged, and computed again: %s", path, error)
        return None
    # Products over memory that is not aligned as PyTorch's own may round otherwise.
    return {key: tensor.clone() for key, tensor in tensors.items()}


def _write(path: Path, contents: bytes) -> None:
    try:
        write_atomically(path, contents, known=path.parent)
    except StorageError as error:
        logger.warning("%s; other processes compute for themselves what it would hold", error)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from computing the same; a lock dies with its process.

    It is deleted while it is held: who waits for it, or comes later, finds the file itself.
    """
    lock = path.with_name(f".{path.name}.lock")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(lock.open("w"))
            stack.callback(_remove, lock)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:  # a folder that cannot be written, or has no locks
            logger.debug("%s cannot be locked: %s", lock, error)
        yield


def _remove(lock: Path) -> None:
    with suppress(OSError):  # another process has, or the folder is away
        lock.unlink()
