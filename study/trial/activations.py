"""Caches for images and prompts that passed the stages of an encoder below the lowest tuned one.

Frozen stages return the same for an input in every epoch and every trial. Each process therefore
computes it once and keeps it as long as there is room.

If nothing in an encoder is tuned, its features are computed once for all processes and stored on
disk beside the decoded images. The file's name is a hash of everything that they depend on, so that
every trial, stage and study on the same storage finds them. Activations inside an encoder are far
larger.
"""

import fcntl
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor

from study.data.images.table import ImageTable, normalize, to_device
from study.method.checked_safetensors import from_checked_bytes, to_checked_bytes
from study.method.model import Backbone, FewShotClassifier, encode_prompts
from study.method.recipe import Precision
from study.method.staged import Prompts, StagedClassifier
from study.method.subsets import parse
from study.storage.atomic import StorageError, read_if_there, write_atomically

logger = logging.getLogger(__name__)

CHUNK = 64
"""The number of images that are encoded at once."""

Kept = TypeVar("Kept", Prompts, Tensor, Tensor | None)
_tables: dict[Path, ImageTable] = {}


class Cache:
    """Results by key; the one that was unused the longest is dropped first.

    Args:
        room: the most numbers that a process keeps.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.kept: OrderedDict[tuple[object, ...], Any] = OrderedDict()

    def get(self, key: tuple[object, ...], compute: Callable[[], Kept]) -> Kept:
        """Return the result of a key, and compute it unless it is kept."""
        if key not in self.kept:
            self.kept[key] = compute()
        self.kept.move_to_end(key)
        found: Kept = self.kept[key]
        while sum(map(_size, self.kept.values())) > self.room:
            self.kept.popitem(last=False)
        return found


IMAGES = Cache(2**27)
"""Half a gigabyte of float32 for images; None stands for a table that does not fit."""
PROMPTS = Cache(2**25)
"""128 MiB of float32 for prompts."""


class ImageActivations:
    """The images of one table after the frozen first stages of a vision encoder.

    Args:
        path: the image table; its images are square.
        backbone: the backbone of the classifier.
        staged: the classifier; its lowest tuned stage is where the activations end.
    """

    def __init__(self, path: Path, backbone: Backbone, staged: StagedClassifier) -> None:
        self._table = open_table(path)
        self._backbone = backbone
        self._staged = staged
        self._precision, self._device = staged.classifier.precision, staged.classifier.device
        self._key = (
            *(path, backbone.fingerprint, self._precision, str(self._device)),
            staged.first_vision_stage,
        )

    def of(self, paths: Sequence[str]) -> Tensor:
        """Return what `StagedClassifier.begin_images` returns for these images of the table.

        Args:
            paths: the paths of the images in the table, in the order wanted.
        """
        compute = self._activations if self._staged.tunes_vision else self._features
        if (whole := IMAGES.get(self._key, compute)) is None:
            return self._begin(self._table.pixels(paths))
        return whole[torch.tensor(self._table.rows(paths), device=whole.device)]

    def _features(self) -> Tensor | None:
        """Return the features of the whole table; None if they do not fit."""
        if len(self._table) * self._backbone.clip.config.projection_dim > IMAGES.room:
            return None
        return cached_features(
            self._table.path.parent,
            {"what": "features of images", "images": self._table.content_hash},
            self._backbone,
            self._precision,
            lambda: {"features": torch.cat(list(self._chunks()))},
        )["features"]

    def _activations(self) -> Tensor | None:
        """Return the activations of the whole table; None if they do not fit."""
        chunks = self._chunks()
        first = next(chunks)
        if first[0].numel() * len(self._table) > IMAGES.room:
            return None
        return torch.cat([first, *chunks])

    def _chunks(self) -> Iterator[Tensor]:
        """Yield the activations of the table's images, in chunks of a fixed size.

        With a fixed size, an image's activations do not depend on which others are requested.
        """
        names = self._table.paths
        for at in range(0, len(names), CHUNK):
            yield self._begin(self._table.pixels(names[at : at + CHUNK]))

    def _begin(self, pixels: Tensor) -> Tensor:
        images = to_device(pixels, self._device)
        return self._staged.begin_images(
            normalize(images, self._backbone.image_mean, self._backbone.image_std)
        )


def open_table(path: Path) -> ImageTable:
    """Open an image table, once per process: it is a read-only memory map."""
    if path not in _tables:
        _tables[path] = ImageTable(path)
    return _tables[path]


def begin_prompts(
    staged: StagedClassifier, backbone: Backbone, input_ids: Tensor, folder: Path
) -> Prompts:
    """Return what `StagedClassifier.begin_prompts` returns, from a cache if possible.

    Args:
        staged: the classifier that encodes the prompts.
        backbone: the backbone of the classifier.
        input_ids: the token ids of the prompts, (prompts, length) int64.
        folder: the folder of the feature cache, see `cached_features`.
    """
    precision = staged.classifier.precision

    def compute() -> Prompts:
        if staged.tunes_text:
            return staged.begin_prompts(input_ids)
        what = {"what": "prompts", "prompts": _digest(input_ids)}
        features = cached_features(
            folder, what, backbone, precision, lambda: vars(staged.begin_prompts(input_ids))
        )
        return Prompts(**features)

    key = _key(
        "prompts", staged.first_text_stage, precision, backbone=backbone, input_ids=input_ids
    )
    return PROMPTS.get(key, compute)


def class_features(
    staged: StagedClassifier, backbone: Backbone, input_ids: Tensor, templates: int, folder: Path
) -> Tensor:
    """Return the text features of classes, (classes, dim) float32.

    They are computed in parts that fit into memory.

    Args:
        staged: the classifier that encodes the prompts.
        backbone: the backbone of the classifier.
        input_ids: the token ids of the prompts, (classes · templates, length) int64; the rows of
            one class stand together.
        templates: the number of prompts per class, whose features are averaged.
        folder: the folder of the feature cache, see `cached_features`.
    """
    classifier = staged.classifier
    if staged.tunes_text:
        return encode_prompts(classifier, input_ids, templates)

    def read_or_encode() -> Tensor:
        what = {"what": f"classes by {templates} templates", "prompts": _digest(input_ids)}
        return cached_features(
            folder,
            what,
            backbone,
            classifier.precision,
            lambda: {"features": encode_prompts(classifier, input_ids, templates)},
        )["features"]

    key = _key("classes", templates, classifier.precision, backbone=backbone, input_ids=input_ids)
    return PROMPTS.get(key, read_or_encode)


@torch.no_grad()
def zero_shot_text(
    backbone: Backbone, input_ids: Tensor, precision: Precision, folder: Path
) -> Tensor:
    """Return the untuned text encoder's features of prompts, (classes, dim) float32.

    Args:
        backbone: the backbone, which holds the untuned text encoder.
        input_ids: the token ids of the prompts, (classes, length) int64.
        precision: the precision of the encoder.
        folder: the folder of the feature cache, see `cached_features`.
    """

    def encode() -> Tensor:
        staged = StagedClassifier(FewShotClassifier(backbone, parse("none"), precision=precision))
        return staged.encode_text(begin_prompts(staged, backbone, input_ids, folder))

    return PROMPTS.get(_key("zero-shot", precision, backbone=backbone, input_ids=input_ids), encode)


def clear_caches() -> None:
    """Drop all cached activations; they are computed again when needed."""
    IMAGES.kept.clear()
    PROMPTS.kept.clear()


def _key(*what: object, backbone: Backbone, input_ids: Tensor) -> tuple[object, ...]:
    return (*what, backbone.fingerprint, str(input_ids.device), _digest(input_ids))


def _digest(input_ids: Tensor) -> str:
    digest = hashlib.sha256(f"{tuple(input_ids.shape)}".encode())
    digest.update(input_ids.cpu().numpy().tobytes())
    return digest.hexdigest()


def _size(kept: Prompts | Tensor | None) -> int:
    tensors = (kept.hidden, kept.prefix_at) if isinstance(kept, Prompts) else (kept,)
    return sum(tensor.numel() for tensor in tensors if tensor is not None)


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
        "form": "2",  # the version of the computation; change it when features may round otherwise
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
                try:
                    write_atomically(path, to_checked_bytes(tensors, identity), known=path.parent)
                except StorageError as error:
                    logger.warning(
                        "%s; other processes compute for themselves what it would hold", error
                    )
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
