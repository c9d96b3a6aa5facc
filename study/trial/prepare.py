"""From a configuration to what trials read: shots recorded, images decoded, tasks laid out."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from study.config.schema import DataConfig, StudyConfig
from study.data.datasets import PACKAGED, load_dataset
from study.data.images.decode import decode_images, highest_value, skipped_images
from study.data.images.rgb import dark_images
from study.data.prompts import ENSEMBLE
from study.data.published_shots import read_published_shots
from study.data.records import Dataset
from study.data.shots import Shots, read_shots, write_shots
from study.data.tasks import (
    Part,
    SelectionName,
    Task,
    class_halves,
    confirm_task,
    draw_shots,
    search_tasks,
)
from study.errors import DataError
from study.storage.atomic import make_folder, write_atomically
from study.storage.ledger import StudyFolder
from study.trial import SPLIT_HASH, Target, TrialData

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
    _asked_about: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    """Datasets whose images are dark, which is said once."""

    def dataset(self) -> Dataset:
        """Read classes and file lists, no pixel."""
        return source_dataset(self.config.data)

    def shots(self, dataset: Dataset, seed: int) -> Shots:
        """Draw a seed's shots, or read those that this study drew before.

        Raises:
            DataError: those are damaged, and the same cannot be drawn again.
        """
        data = self.config.data
        path = self.folder.path / "shots" / f"shots-{data.shots}-seed-{seed}.jsonl"
        damage: DataError | None = None
        if path.exists():
            try:
                return read_shots(path)
            except DataError as error:
                damage = error
        shots = find_shots(self.config, dataset, seed)
        if damage is not None:
            if shots.digest.encode() not in path.read_bytes():
                raise damage
            logger.warning("%s; the same shots are drawn again", damage)
        write_shots(shots, path)
        return shots

    def search(self) -> TrialData:
        """Lay out what trials of the search are trained and judged on; no test image is in it."""
        dataset = self.dataset()
        rule = selection_rule(self.config, dataset)
        tasks = search_tasks(
            dataset,
            self.shots(dataset, self.config.seed),
            protocol=self.config.protocol,
            selection=rule,
            folds=fold_count(self.config, rule),
        )
        return self.lay_out(dataset, tasks, "val")

    def confirm(self, seed: int) -> TrialData:
        """Lay out a seed's training shots and the test split, and the test splits of targets."""
        dataset, protocol = self.dataset(), self.config.protocol
        targets = [target_dataset(self.config.data, name) for name in self.config.data.targets]
        shots = self.shots(dataset, seed) if protocol != "zero_shot" else None
        task = confirm_task(dataset, shots, protocol=protocol, targets=targets)
        return self.lay_out(dataset, (task,), "test", targets)

    def lay_out(
        self,
        dataset: Dataset,
        tasks: tuple[Task, ...],
        split: str,
        targets: Sequence[Dataset] = (),
    ) -> TrialData:
        """Decode the images of some tasks, record which they are and give what a trial reads."""
        data = self.config.data
        elsewhere: dict[str, Target] = {}
        unreadable: set[tuple[str, str]] = set()
        for target in targets:
            images = self._decode(target, [r.path for r in target.test], root=_targets_root(data))
            unreadable |= {(target.name, path) for path in skipped_images(images)}
            self._ask_about_dark(target.name, images)
            elsewhere[target.name] = Target(target.class_names, _templates(target, data), images)
        train = _paths(task.train for task in tasks)
        parts = [part for task in tasks for part in task.evaluations]
        evaluated = _paths(part for part in parts if part.name not in elsewhere)
        if not train:
            train_images = eval_images = self._decode(dataset, evaluated)
        elif data.augment:
            train_images = self._decode(dataset, train, keep_aspect=True)
            eval_images = self._decode(dataset, evaluated)
        elif split == "val":
            train_images = eval_images = self._decode(dataset, sorted({*train, *evaluated}))
        else:
            train_images = self._decode(dataset, train)
            eval_images = self._decode(dataset, evaluated)
        self._ask_about_dark(dataset.name, train_images, eval_images)
        skipped = {*skipped_images(train_images), *skipped_images(eval_images)}
        unreadable |= {("", path) for path in skipped}
        if unreadable:
            tasks = tuple(_without(task, unreadable, elsewhere) for task in tasks)
        digest = hashlib.sha256("".join(task.digest for task in tasks).encode()).hexdigest()
        self._record(tasks, digest, (dataset, *targets))
        return TrialData(
            dataset=dataset.name,
            protocol=self.config.protocol,
            class_names=dataset.class_names,
            templates=_templates(dataset, data),
            tasks=tasks,
            digest=digest,
            train_images=train_images,
            eval_images=eval_images,
            augment=data.augment,
            split="val" if split == "val" else "test",
            ensemble=data.ensemble,
            targets=elsewhere,
            pixel_range=data.pixel_range,
        )

    def _record(self, tasks: Sequence[Task], digest: str, datasets: Sequence[Dataset]) -> None:
        """Say, once for equal data, which images and classes trials learn from and are judged on.

        The file is named by the split hash that trials carry.
        """
        path = self.folder.path / "shots" / f"tasks-{digest[:SPLIT_HASH]}.jsonl"
        lines = [
            json.dumps({"dataset": d.name, "class_names": d.class_names}, ensure_ascii=False)
            for d in datasets
        ]
        for number, task in enumerate(tasks):
            lines += [json.dumps({"task": number, "digest": task.digest}), *task.lines()]
        contents = ("\n".join(lines) + "\n").encode()
        if not path.exists() or path.read_bytes() != contents:
            make_folder(path.parent)
            write_atomically(path, contents, known=path.parent)

    def _ask_about_dark(self, name: str, *tables: Path) -> None:
        """Warn, once a dataset, where its 16-bit images use a small part of their depth."""
        highest = max((value for t in tables if (value := highest_value(t))), default=None)
        if (question := dark_images(highest)) and name not in self._asked_about:
            self._asked_about.add(name)
            logger.warning("%s: %s", name, question)

    def _decode(
        self,
        dataset: Dataset,
        paths: Sequence[str],
        *,
        keep_aspect: bool = False,
        root: Path | None = None,
    ) -> Path:
        root = root or self.config.data.root
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


def source_dataset(data: DataConfig) -> Dataset:
    """Read the dataset that is trained on: classes and file lists, no pixel."""
    columns: Any = data.columns  # mappings from literals, which are no mappings from str to mypy
    splits: Any = data.splits
    return load_dataset(
        data.dataset,
        data.root,
        templates=data.templates,
        pixel_range=data.pixel_range,
        columns=columns,
        splits=splits,
        subset=data.subset,
        revision=data.revision,
    )


def target_dataset(data: DataConfig, name: str) -> Dataset:
    """Read a dataset that is tested on as well, with templates of its own."""
    pixel_range = None if name in PACKAGED else data.pixel_range
    return load_dataset(name, _targets_root(data), pixel_range=pixel_range)


def _targets_root(data: DataConfig) -> Path | None:
    return data.targets_root or data.root


def find_shots(config: StudyConfig, dataset: Dataset, seed: int) -> Shots:
    """Draw a seed's shots, or read them where others published theirs.

    Where nothing is chosen by validation, no image need be left for it.
    """
    data = config.data
    if data.shots_from is not None:
        return read_published_shots(data.shots_from, dataset, shots=data.shots, seed=seed)
    return draw_shots(
        dataset,
        shots=data.shots,
        val_shots=data.val_shots if config.validates else 0,
        seed=seed,
        short=data.short,
    )


def _templates(dataset: Dataset, data: DataConfig) -> tuple[str, ...]:
    """Give the templates of a dataset, the training one first."""
    given = data.templates is not None and dataset.name == data.dataset
    return dataset.templates + ENSEMBLE * (data.ensemble and not given)


def selection_rule(config: StudyConfig, dataset: Dataset) -> SelectionName:
    """Give the rule that trials are judged by; ``auto`` takes the soundest that is possible."""
    if config.search.selection != "auto":
        return config.search.selection
    if config.protocol != "base_to_new":
        return config.image_rule
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


def fold_count(config: StudyConfig, rule: SelectionName) -> int:
    """Give the number of folds: as configured, else what did best where it was measured."""
    return config.search.folds or (3 if rule == "class_folds" else 4)


def _paths(parts: Iterable[Part]) -> list[str]:
    return sorted({record.path for part in parts for record in part.records})


def _without(task: Task, unreadable: set[tuple[str, str]], targets: Mapping[str, Target]) -> Task:
    """Leave unreadable images out; the same path in another dataset is another image."""

    def kept(part: Part) -> Part:
        place = part.name if part.name in targets else ""
        records = tuple(r for r in part.records if (place, r.path) not in unreadable)
        if part.records and not records:
            raise DataError(f"no image of the part '{part.name}' is readable")
        return replace(part, records=records)

    return Task(kept(task.train), tuple(kept(part) for part in task.evaluations))
