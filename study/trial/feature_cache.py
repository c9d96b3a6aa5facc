"""A cache on disk for the features of an encoder in which nothing is tuned.

Features are computed once for all processes and stored beside the decoded images. The file's name
is a hash of everything that they depend on, so that every trial, stage and study on the same
storage finds them. Activations inside an encoder are far larger. Each process keeps its own, see
`study.trial.image_activations` and `study.trial.prompt_activations`.
"""

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
from study.method.model import Backbone
from study.method.recipe import Precision
from study.storage.atomic import StorageError, read_if_there, write_atomically

FORM = "2"
"""The version of the computation; change it when features may round differently."""
logger = logging.getLogger(__name__)


def cached_features(
    folder: Path,
    what: Mapping[str, str],
    backbone: Backbone,
    precision: Precision,
    compute: Callable[[], Mapping[str, Tensor]],
) -> dict[str, Tensor]:
    """Read tensors from their file, or compute them and write the file.

    If several processes need them at once, one computes and the others wait. A damaged file is
    computed again. If no file can be written, each process computes for itself.

    Args:
        folder: the folder of the decoded images.
        what: what distinguishes these tensors from others of this backbone and precision.
        backbone: the backbone as loaded, on the device that computes.
        precision: the precision of the encoders.
        compute: a function that returns the tensors; every call must return the same values.

    Returns:
        The tensors by name, on the backbone's device.
    """
    device = next(backbone.clip.parameters()).device
    identity = {
        **what,
        "form": FORM,
        "backbone": backbone.fingerprint,
        "settings": _settings(backbone),
        "precision": precision,
        # Rounding depends on these, and a trial must yield the same bytes wherever it runs.
        "device": device.type,
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
    }
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
    path = folder / f"frozen-{name}.safetensors"
    if (tensors := _read(path, identity)) is None:
        with _locked(path):
            if (tensors := _read(path, identity)) is None:
                tensors = {key: tensor.contiguous() for key, tensor in compute().items()}
                _write(path, to_checked_bytes(tensors, identity))
    return {key: tensor.to(device) for key, tensor in tensors.items()}


def _settings(backbone: Backbone) -> str:
    """Hash the settings that features depend on, such as the activation function and EOT's id."""
    config = backbone.clip.config.to_dict()
    for name in ("_name_or_path", "transformers_version"):
        config.pop(name, None)
    settings = [config, backbone.image_mean, backbone.image_std]
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: Path, identity: Mapping[str, str]) -> dict[str, Tensor] | None:
    if (contents := read_if_there(path, path.read_bytes, known=path.parent)) is None:
        return None
    try:
        tensors, metadata = from_checked_bytes(contents)
        if metadata != identity:
            raise ValueError("its metadata do not match its name")
    except (SafetensorError, ValueError) as error:
        logger.warning("%s is damaged, and computed again: %s", path, error)
        return None
    # Matrix products may round differently on memory that PyTorch did not align itself.
    return {key: tensor.clone() for key, tensor in tensors.items()}


def _write(path: Path, contents: bytes) -> None:
    try:
        write_atomically(path, contents, known=path.parent)
    except StorageError as error:
        logger.warning("%s; other processes compute for themselves what it would hold", error)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from computing the same file; a lock ends with its process.

    The lock file is deleted while the lock is held. A process that waits for it, or comes later,
    finds the finished file.
    """
    lock = path.with_name(f".{path.name}.lock")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(lock.open("w"))
            stack.callback(_remove, lock)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:  # the folder is read-only or supports no locks
            logger.debug("%s cannot be locked: %s", lock, error)
        yield


def _remove(lock: Path) -> None:
    with suppress(OSError):  # another process removed it, or the storage is away
        lock.unlink()
