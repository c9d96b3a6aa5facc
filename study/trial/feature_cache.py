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

from study.method.delta import Tensors, from_checked_bytes, to_checked_bytes
from study.method.model import FewShotClassifier
from study.storage.atomic import StorageError, read_if_exists, sha256_of, write_atomically

logger = logging.getLogger(__name__)
Compute = Callable[[], Tensors]
"""A function that returns tensors; every call must return the same values."""
Facts = Mapping[str, str]
"""What tensors depend on, which distinguishes them from others."""


class Cache:
    """Results by key; the result that was unused the longest is dropped first.

    Args:
        capacity: the largest number of values that a process keeps.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.results: OrderedDict[tuple[object, ...], Tensors] = OrderedDict()

    def get(self, key: tuple[object, ...], compute: Compute) -> Tensors:
        """Return the result of a key; compute it unless it is in the cache."""
        result = self.results.pop(key, None)
        if result is None:
            result = compute()
        self.results[key] = result
        while (
            sum(t.numel() for kept in self.results.values() for t in kept.values()) > self.capacity
        ):
            self.results.popitem(last=False)
        return result


def cached_features(
    folder: Path, what: Facts, classifier: FewShotClassifier, compute: Compute
) -> Tensors:
    """Read tensors from their file, or compute them and write the file.

    If several processes need them at once, one computes and the others wait. A damaged file is
    computed again. If no file can be written, each process computes for itself.

    Args:
        folder: the folder of the decoded images.
        what: facts that distinguish these tensors from others of this backbone and precision.
        classifier: a classifier of this backbone and precision, on the device that computes.
        compute: a function that returns the tensors.

    Returns:
        The tensors by name, on the classifier's device.
    """
    backbone, precision, device = classifier.backbone, classifier.precision, classifier.device
    # The settings that features depend on, such as the activation function.
    config = backbone.clip.config.to_dict()
    config.pop("_name_or_path", None)
    config.pop("transformers_version", None)
    settings = json.dumps(
        [config, backbone.image_mean, backbone.image_std], sort_keys=True, default=str
    )
    identity = {
        **what,
        # The version of the computation; change it when features may round otherwise.
        "form": "2" if precision == "float32" else "3",
        "backbone": backbone.state,
        "settings": sha256_of(settings.encode())[:32],
        "precision": precision,
        # Rounding depends on these, and a trial must yield the same bytes wherever it runs.
        "device": device.type,
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
    }
    name = sha256_of(json.dumps(identity, sort_keys=True).encode())[:32]
    path = folder / f"frozen-{name}.safetensors"
    tensors = _read(path, identity)
    if tensors is None:
        with _locked(path):
            tensors = _read(path, identity)
            if tensors is None:
                tensors = {key: tensor.contiguous() for key, tensor in compute().items()}
                contents = to_checked_bytes(tensors, identity)
                try:
                    write_atomically(path, contents, existing=folder)
                except StorageError as error:
                    logger.warning("%s; other processes compute these features again", error)
    return {key: tensor.to(device) for key, tensor in tensors.items()}


def _read(path: Path, identity: Facts) -> Tensors | None:
    """Return the tensors of a file; None if it is missing or damaged."""
    contents = read_if_exists(path, path.read_bytes, existing=path.parent)
    if contents is None:
        return None
    try:
        tensors, metadata = from_checked_bytes(contents)
        if metadata != identity:
            raise ValueError("its metadata does not match its name")
    except (SafetensorError, ValueError) as error:
        logger.warning("%s is damaged, so its features are computed again: %s", path, error)
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
