"""A real trial from end to end: the embedded checkpoint on handwritten digits.

The images are laid out here, since the package does so by Pillow and torchvision, which a machine
with a GPU may lack. They are the same digits, splits and shots, scaled by PyTorch.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from gpu_sections import Numbers
from sklearn.datasets import load_digits
from torch.nn import functional as F
from transformers import AutoTokenizer, CLIPModel
from ways import WAYS

from study.backbones.backbone import Backbone, fingerprint
from study.backbones.description import EMBEDDED, backbone_path
from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.shipped import QUICKSTART, shipped_file
from study.data.images.table import HASH, HIGHEST_VALUE, SCHEMA, SKIPPED, hash_batch
from study.data.prompts import templates_of
from study.data.records import Dataset, Record, fixed_split
from study.data.shots import draw_shots
from study.data.tasks import Task
from study.method.precision import cast_matrices
from study.protocols import Protocol, find_protocol
from study.trial import Split, TrialConfig, TrialData
from study.trial.run_trial import run_trial

NAME = "digits"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
INK = 16
"""The value of a pixel that is all ink."""
RATES = {"bias": 0.1, "ln": 0.1}
DISTILL_WEIGHT = 1.0
CPU = "on the CPU"
ROWS = ("float32", "held", f"float32, {CPU}")


def trial(row: str, device: str, small: bool) -> Numbers:
    """Run a trial of the search and one of the test, the model being loaded."""
    torch.set_num_threads(1)  # as a trial has one core
    way, _, place = row.partition(", ")
    where = "cpu" if place == CPU else device
    precision, is_held = WAYS[way]
    backbone = embedded()
    if is_held:
        cast_matrices(backbone.clip, precision)
    backbone.clip.to(where)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for split, data in digits(Path(folder), backbone):
            config = _config(data, split, precision, epochs=2 if small else None)
            began = time.perf_counter()
            *_, last = run_trial(config, data, backbone)
            found[f"{split}_seconds"] = time.perf_counter() - began
            found[f"{split}_score"] = last.metrics[f"{split}_score"]
    return found


def trial_cells(numbers: Numbers) -> list[str]:
    """Write a row of `trial`."""
    return [
        text
        for split in ("val", "test")
        for text in (f"{numbers[f'{split}_seconds']:.1f}", f"{numbers[f'{split}_score']:.3f}")
    ]


def embedded() -> Backbone:
    """Load the embedded checkpoint without its image processor, which needs torchvision."""
    folder = backbone_path(EMBEDDED)
    clip = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    clip.eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    shown = json.loads(Path(folder, "preprocessor_config.json").read_text())
    mean, std = (cast(Any, tuple(shown[f"image_{name}"])) for name in ("mean", "std"))
    size = clip.config.vision_config.image_size
    return Backbone(NAME, clip, tokenizer, size, mean, std, fingerprint=fingerprint(clip))


def digits(folder: Path, backbone: Backbone) -> Iterator[tuple[Split, TrialData]]:
    """Yield the data of the search's trials and of the test's, as the first study has them.

    Args:
        folder: a folder for the images.
        backbone: the backbone that reads them.
    """
    config, protocol = _study(), find_protocol(_study().protocol)
    dataset, pixels = read_digits()
    kept, seed = config.data.val_shots, config.confirm.seeds[0]
    shots = draw_shots(dataset, shots=config.data.shots, val_shots=kept, seed=config.seed)
    rule = protocol.rule(config, dataset)
    folds = protocol.search_tasks(dataset, shots, rule, config.search.folds)
    own = draw_shots(dataset, shots=config.data.shots, val_shots=0, seed=seed)
    tests = (protocol.confirm_task(dataset, own),)
    table = write_table(folder / "digits.arrow", pixels, backbone.image_size)
    for split, tasks in (("val", folds), ("test", tests)):
        yield cast(Split, split), _data(cast(Split, split), tasks, dataset, protocol, table)


def read_digits() -> tuple[Dataset, dict[str, np.ndarray]]:
    """Return the digits of scikit-learn as the package reads them, with the pixels by path."""
    bunch = load_digits()
    names = [f"digit {word}" for word in WORDS]
    grey = np.round(bunch.images * (255 / INK)).astype(np.uint8)
    pixels = {f"{NAME}/{number:04d}": image for number, image in enumerate(grey)}
    records = tuple(map(Record, pixels, bunch.target.tolist()))
    splits = fixed_split(records, names, key=NAME, val=False)
    source = cast(Any, None)  # nothing is decoded
    return Dataset(NAME, tuple(names), templates_of(NAME), *splits, source), pixels


def write_table(file: Path, pixels: dict[str, np.ndarray], size: int) -> Path:
    """Write images as `study.data.images.decode.decode_images` does, and return the file."""
    batch = torch.from_numpy(np.stack([*pixels.values()]))[:, None]
    scaled = F.interpolate(batch, (size, size), mode="bicubic", antialias=True)
    rows = [
        {"path": path, "height": size, "width": size, "pixels": image.numpy().tobytes()}
        for path, image in zip(pixels, scaled.expand(-1, 3, -1, -1).movedim(1, -1), strict=True)
    ]
    whole, digest = pa.RecordBatch.from_pylist(rows, schema=SCHEMA), hashlib.sha256()
    hash_batch(whole, digest)
    end = {HASH: digest.hexdigest().encode(), SKIPPED: b"[]", HIGHEST_VALUE: b""}
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_batch(whole)
        writer.write_batch(pa.RecordBatch.from_pylist([], SCHEMA), custom_metadata=end)
    return file


def _study() -> StudyConfig:
    file = shipped_file(QUICKSTART)
    assert file is not None
    return load_config(file)


def _data(
    split: Split, tasks: tuple[Task, ...], dataset: Dataset, protocol: Protocol, table: Path
) -> TrialData:
    return TrialData(
        protocol=protocol,
        class_names=dataset.class_names,
        templates=dataset.templates,
        tasks=tasks,
        digest="",
        train_images=table,
        eval_images=table,
        augment=False,
        split=split,
    )


def _config(data: TrialData, split: Split, precision: str, *, epochs: int | None) -> TrialConfig:
    config = _study()
    values = {
        "trial_id": f"{split}-0000",
        "stage": "search" if split == "val" else "confirm",
        "arm": "search",
        "label": "",
        "number": 0,
        "seed": config.seed if split == "val" else config.confirm.seeds[0],
        "subset_key": "",
        "trainable": 1,
        "split_hash": "",
        "epochs": epochs or config.training.epochs,
        "training": config.training.model_copy(update={"precision": precision}),
        "settings": {"subset": "clipfit", "rates": RATES, "distill_weight": DISTILL_WEIGHT},
    }
    return TrialConfig.model_validate(values)
