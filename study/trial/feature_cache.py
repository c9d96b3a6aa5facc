"""Results that a process keeps, and features that all processes of a storage keep on disk.

Features are stored beside the decoded images. The file's name is a hash of everything that they
depend on, so that every trial, stage and study on the same storage finds them.
"""

import fcntl
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from study.backbones.backbone import Backbone
from study.method.delta import from_checked_bytes, to_checked_bytes
from study.method.recipe import Precision
from study.storage.atomic import StorageError, read_if_exists, sha256_of, write_atomically

logger = logging.getLogger(__name__)

Tensors = Mapping[str, Tensor]


class Cache:
    """Results by key; the one that was unused the longest is dropped first.

    Args:
        room: the most numbers that a process keeps.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.kept: OrderedDict[tuple[object, ...], Tensors] = OrderedDict()

    def get(self, key: tuple[object, ...], compute: Callable[[], Tensors]) -> Tensors:
        """Return the result of a key, and compute it unless it is kept."""
        found = self.kept.pop(key) if key in self.kept else compute()
        self.kept[key] = found
        while sum(t.numel() for kept in self.kept.values() for t in kept.values()) > self.room:
            self.kept.popitem(last=False)
        return found


def cached_features(
    folder: Path,
    what: Mapping[str, str],
    backbone: Backbone,
    precision: Precision,
    compute: Callable[[], Tensors],
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
    # The settings that features depend on, such as the activation function and EOT's id.
    config = {
        name: value
        for name, value in backbone.clip.config.to_dict().items()
        if name not in ("_name_or_path", "transformers_version")
    }
    settings = [config, backbone.image_mean, backbone.image_std]
    identity = {
        **what,
        # The version of the computation; change it when features may round otherwise.
        "form": "2" if precision == "float32" else "3",
        "backbone": backbone.state,
        "settings": sha256_of(json.dumps(settings, sort_keys=True, default=str).encode())[:32],
        "precision": precision,
        # Rounding depends on these, and a trial must yield the same bytes wherever it runs.
        "device": device.type,
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
    }
    name = sha256_of(json.dumps(identity, sort_keys=True).encode())[:32]
    path = folder / f"frozen-{name}.safetensors"
    if (tensors := _read(path, identity)) is None:
        with _locked(path):
            if (tensors := _read(path, identity)) is None:
                tensors = {key: tensor.contiguous() for key, tensor in compute().items()}
                try:
                    write_atomically(
                        path, to_checked_bytes(tensors, identity), existing=path.parent
                    )
                except StorageError as error:
                    logger.warning(
                        "%s; other processes compute for themselves what it would hold", error
                    )
    return {key: tensor.to(device) for key, tensor in tensors.items()}


def _read(path: Path, identity: Mapping[str, str]) -> dict[str, Tensor] | None:
    if (contents := read_if_exists(path, path.read_bytes, existing=path.parent)) is None:
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


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from computing the same file; a lock ends with its process.

    The lock file is deleted while the lock is held. A process that waits for it, or comes later,
    finds the finished file.
    """
    lock = path.with_name(f".{path.name}.lock")
    with ExitStack() as stack:
        with suppress(OSError):  # the folder is read-only or supports no locks
            file = stack.enter_context(lock.open("w"))
            stack.callback(_remove, lock)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove(lock: Path) -> None:
    with suppress(OSError):  # another process removed it, or the storage is away
        lock.unlink()
