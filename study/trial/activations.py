"""Caches for images and prompts that passed the stages of an encoder below the lowest tuned one.

Frozen stages return the same for an input in every epoch and every trial. Each process therefore
computes it once and keeps it as long as there is room.

If nothing in an encoder is tuned, its features are computed once for all processes and stored on
disk beside the decoded images. The file's name is a hash of everything that they depend on, so that
every trial, stage and study on the same storage finds them. So are the states before the projection
where it alone is tuned. Activations inside an encoder are far larger. For a peer that may tune
every stage, images are kept as normalised pixels.
"""

import fcntl
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from study.backbones.backbone import Backbone
from study.data.images.table import ImageTable, normalize, to_device
from study.method.delta import from_checked_bytes, to_checked_bytes
from study.method.model import PROMPTS_AT_ONCE, FewShotClassifier, encode_prompts
from study.method.peer_model import PlainPass
from study.method.recipe import Precision
from study.method.staged import Prompts, StagedClassifier
from study.method.subsets import parse
from study.storage.atomic import StorageError, read_if_there, sha256_of, write_atomically

logger = logging.getLogger(__name__)

CHUNK = 64
"""The number of images that are encoded at once."""

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


IMAGES = Cache(2**27)
"""Half a gigabyte of float32 for images; an empty result stands for a table that does not fit."""
PROMPTS = Cache(2**25)
"""128 MiB of float32 for prompts."""

open_table = cache(ImageTable)
"""Open an image table, once per process: it is a read-only memory map."""


def begin_images(
    model: StagedClassifier | PlainPass,
    backbone: Backbone,
    path: Path,
    wanted: Sequence[str],
) -> Tensor:
    """Return what a model's own `begin_images` returns for images of a table, from a cache.

    The whole table is encoded in chunks of a fixed size, so that an image's activations do not
    depend on which others are requested. If it does not fit into the cache, these images are
    encoded alone.

    Args:
        model: the classifier; its lowest tuned stage is where the activations end.
        backbone: the backbone of the classifier.
        path: the image table; its images are square.
        wanted: the paths of the images in the table, in the order wanted.
    """
    table, precision = open_table(path), model.classifier.precision
    encoder = model.vision if isinstance(model, StagedClassifier) else None

    def begin_all() -> Tensors:
        starts = range(0, len(table.paths), CHUNK)
        parts = (table.paths[start : start + CHUNK] for start in starts)
        chunks = (begin_anew(model, backbone, table, part) for part in parts)
        if encoder and encoder.first >= encoder.projection:
            what, size = "features of images", backbone.dim
            if encoder.is_tuned:
                what = "states of images before the projection"
                size = backbone.clip.config.vision_config.hidden_size
            if len(table.paths) * size > IMAGES.room:
                return {}
            return cached_features(
                path.parent,
                {"what": what, "images": table.content_hash},
                backbone,
                precision,
                lambda: {"features": torch.cat([*chunks])},
            )
        first = next(chunks)
        fits = first[0].numel() * len(table.paths) <= IMAGES.room
        return {"features": torch.cat([first, *chunks])} if fits else {}

    device, stage = model.classifier.device, encoder.first if encoder else "pixels"
    key = (path, backbone.state, precision, str(device), stage)
    if not (whole := IMAGES.get(key, begin_all)):
        return begin_anew(model, backbone, table, wanted)
    return whole["features"][torch.tensor(table.rows(wanted), device=device)]


def begin_anew(
    model: StagedClassifier | PlainPass,
    backbone: Backbone,
    table: ImageTable,
    wanted: Sequence[str],
) -> Tensor:
    """Return what a model's own `begin_images` returns for images of a table, from no cache."""
    images = to_device(table.pixels(wanted), model.classifier.device)
    return model.begin_images(normalize(images, backbone.image_mean, backbone.image_std))


def begin_prompts(
    model: StagedClassifier | PlainPass, backbone: Backbone, input_ids: Tensor, folder: Path
) -> Any:
    """Return what a model's own `begin_prompts` returns, from a cache if possible.

    Args:
        model: the classifier that encodes the prompts.
        backbone: the backbone of the classifier.
        input_ids: the token ids of the prompts, (prompts, length) int64.
        folder: the folder of the feature cache, see `cached_features`.
    """

    if isinstance(model, PlainPass):
        return model.begin_prompts(input_ids)

    def begin() -> Tensors:
        return vars(model.begin_prompts(input_ids))

    precision = model.classifier.precision
    if model.text.is_tuned:
        what = f"prompts up to stage {model.text.first}"
        return Prompts(**_of_prompts(what, backbone, precision, input_ids, None, begin))
    return Prompts(**_of_prompts("prompts", backbone, precision, input_ids, folder, begin))


def class_features(
    model: StagedClassifier | PlainPass,
    backbone: Backbone,
    input_ids: Tensor,
    templates: int,
    folder: Path,
) -> Tensor:
    """Return the text features of classes, (classes, dim) float32.

    More than pass through the encoder at once are computed in parts.

    Args:
        model: the classifier that encodes the prompts.
        backbone: the backbone of the classifier.
        input_ids: the token ids of the prompts, (classes · templates, length) int64; the rows of
            one class stand together.
        templates: the number of prompts per class, whose features are averaged.
        folder: the folder of the feature cache, see `cached_features`.
    """

    def encode() -> Tensors:
        return {"features": encode_prompts(model.classifier, input_ids, templates)}

    if templates == 1 and len(input_ids) <= PROMPTS_AT_ONCE:
        return model.encode_text(begin_prompts(model, backbone, input_ids, folder))
    if isinstance(model, PlainPass) or model.text.is_tuned:
        return encode()["features"]
    what = f"classes by {templates} templates"
    return _of_prompts(what, backbone, model.classifier.precision, input_ids, folder, encode)[
        "features"
    ]


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

    def encode() -> Tensors:
        staged = StagedClassifier(FewShotClassifier(backbone, parse("none"), precision=precision))
        prompts = begin_prompts(staged, backbone, input_ids, folder)
        return {"features": staged.encode_text(prompts)}

    return _of_prompts("zero-shot", backbone, precision, input_ids, None, encode)["features"]


def _of_prompts(
    what: str,
    backbone: Backbone,
    precision: Precision,
    input_ids: Tensor,
    folder: Path | None,
    compute: Callable[[], Tensors],
) -> Tensors:
    """Return what `compute` returns of prompts: from memory, or from a folder if one is given."""
    shape, device = tuple(input_ids.shape), str(input_ids.device)
    digest = sha256_of(f"{shape}".encode() + input_ids.cpu().numpy().tobytes())

    def read_or_compute() -> Tensors:
        if folder is None:
            return compute()
        identity = {"what": what, "prompts": digest}
        return cached_features(folder, identity, backbone, precision, compute)

    key = (what, precision, backbone.state, digest, device)
    return PROMPTS.get(key, read_or_compute)


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
                    write_atomically(path, to_checked_bytes(tensors, identity), known=path.parent)
                except StorageError as error:
                    logger.warning(
                        "%s; other processes compute for themselves what it would hold", error
                    )
    return {key: tensor.to(device) for key, tensor in tensors.items()}


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
        with suppress(OSError):  # the folder is read-only or supports no locks
            file = stack.enter_context(lock.open("w"))
            stack.callback(_remove, lock)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove(lock: Path) -> None:
    with suppress(OSError):  # another process removed it, or the storage is away
        lock.unlink()
