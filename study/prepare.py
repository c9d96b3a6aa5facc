"""From a configuration to what trials read: shots recorded, images decoded, tasks laid out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from study.config import StudyConfig
from study.data.datasets import load_dataset
from study.data.decode import decode_images, skipped_images
from study.data.fewshot import (
    Part,
    SelectionName,
    Task,
    class_halves,
    confirm_task,
    draw_shots,
    search_tasks,
)
from study.data.records import Dataset
from study.data.shots import Shots, read_shots, write_shots
from study.errors import DataError
from study.ledger import StudyFolder
from study.trial import TrialData

logger = logging.getLogger(__name__)

FEWEST_BASE_CLASSES = 12
"""Below this, class folds picked no better than chance where that was measured."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Preparer:
    """Prepares the data of one study; the test split is touched by `confirm` alone."""

    config: StudyConfig
    folder: StudyFolder
    image_size: int
    """Pixels, of the backbone's input."""
    progress: Progress | None = None

    def dataset(self) -> Dataset:
        """Read classes and file lists, no pixel."""
        data = self.config.data
        return load_dataset(data.dataset, data.root, templates=data.templates)

    def shots(self, dataset: Dataset, seed: int) -> Shots:
        """Draw a seed's shots, or read those that this study drew before."""
        data = self.config.data
        path = self.folder.path / "shots" / f"shots-{data.shots}-seed-{seed}.jsonl"
        if path.exists():
            return read_shots(path)
        shots = draw_shots(dataset, shots=data.shots, val_shots=data.val_shots, seed=seed)
        write_shots(shots, path)
        return shots

    def search(self) -> TrialData:
        """Lay out what trials of the search are trained and judged on; no test image is in it."""
        dataset = self.dataset()
        tasks = search_tasks(
            dataset,
            self.shots(dataset, self.config.seed),
            protocol=self.config.protocol,
            selection=selection_rule(self.config, dataset),
            folds=self.config.search.folds,
        )
        return self.lay_out(dataset, tasks, "val")

    def confirm(self, seed: int) -> TrialData:
        """Lay out a seed's training shots and the test split."""
        dataset = self.dataset()
        task = confirm_task(dataset, self.shots(dataset, seed), protocol=self.config.protocol)
        return self.lay_out(dataset, (task,), "test")

    def lay_out(self, dataset: Dataset, tasks: tuple[Task, ...], split: str) -> TrialData:
        """Decode the images of some tasks and give what a trial reads."""
        train = _paths(task.train for task in tasks)
        evaluated = _paths(part for task in tasks for part in task.evaluations)
        if self.config.data.augment:
            train_images = self._decode(dataset, train, keep_aspect=True)
            eval_images = self._decode(dataset, evaluated)
        elif split == "val":
            train_images = eval_images = self._decode(dataset, sorted({*train, *evaluated}))
        else:
            train_images = self._decode(dataset, train)
            eval_images = self._decode(dataset, evaluated)
        unreadable = {*skipped_images(train_images), *skipped_images(eval_images)}
        if unreadable:
            tasks = tuple(_without(task, unreadable) for task in tasks)
        digest = hashlib.sha256("".join(task.digest for task in tasks).encode()).hexdigest()
        return TrialData(
            dataset=dataset.name,
            protocol=self.config.protocol,
            class_names=dataset.class_names,
            templates=dataset.templates,
            tasks=tasks,
            digest=digest,
            train_images=train_images,
            eval_images=eval_images,
            augment=self.config.data.augment,
            split="val" if split == "val" else "test",
        )

    def _decode(self, dataset: Dataset, paths: Sequence[str], *, keep_aspect: bool = False) -> Path:
        root = self.config.data.root
        place = f"-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]}" if root else ""
        return decode_images(
            dataset.source,
            paths,
            size=self.image_size,
            cache=(self.config.storage / "images").resolve(),
            key=f"{dataset.name}{place}",
            keep_aspect=keep_aspect,
            on_corrupt=self.config.data.on_corrupt,
            progress=self.progress,
        )


def selection_rule(config: StudyConfig, dataset: Dataset) -> SelectionName:
    """Give the rule that trials are judged by; ``auto`` takes the soundest that is possible."""
    if config.search.selection != "auto":
        return config.search.selection
    if config.protocol == "few_shot":
        return "holdout"
    base, _ = class_halves(record.label for record in dataset.train)
    if len(base) >= FEWEST_BASE_CLASSES:
        return "class_folds"
    logger.warning(
        "%s has %d base classes: too few for class folds (%d), so trials are judged on base "
        "classes alone and the choice is weak",
        dataset.name,
        len(base),
        FEWEST_BASE_CLASSES,
    )
    return "base"


def _paths(parts: Iterable[Part]) -> list[str]:
    return sorted({record.path for part in parts for record in part.records})


def _without(task: Task, unreadable: set[str]) -> Task:
    """Leave unreadable images out."""

    def kept(part: Part) -> Part:
        records = tuple(r for r in part.records if r.path not in unreadable)
        if not records:
            raise DataError(f"no image of the part '{part.name}' is readable")
        return replace(part, records=records)

    return Task(kept(task.train), tuple(kept(part) for part in task.evaluations))
