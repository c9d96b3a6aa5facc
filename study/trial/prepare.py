"""The preparation of a trial's data: shots are drawn, images decoded, and tasks made."""

import json
import logging
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from study.config.schema import DataConfig
from study.config.search_section import AshaConfig
from study.config.trial_settings import HEADS, Head
from study.data.images.decode import ImageCache, ImageCounter, decode_images
from study.data.images.image_reading import ImageReading
from study.data.images.table import ImageTable
from study.data.output_folders import IMAGES
from study.data.prompts import ENSEMBLE
from study.data.published_shots import read_published_shots
from study.data.records import ClassNames, Dataset, ImagePaths, Templates, listed
from study.data.shots import (
    ALL,
    Shots,
    draw_shots,
    make_shots,
    read_shots,
    write_shots,
)
from study.data.tasks import (
    Part,
    Task,
    Tasks,
    in_classes,
)
from study.errors import DataError
from study.storage.atomic import make_folder, sha256_of, write_atomically
from study.trial.study import SPLIT_HASH, Split, Study, Target, TrialData

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparer:
    """The preparation of one study's data; only `test` reads the test split."""

    study: Study
    image_size: int
    """The width and height of the backbone's input, in pixels."""
    progress: ImageCounter | None = None

    def shots(self, seed: int) -> Shots:
        """Return the shots that the study recorded for a seed; draw and record them at first.

        Raises:
            DataError: the recorded shots are damaged, and drawing again yields other ones.
        """
        path = shots_path(self.study, seed)
        if path.exists():
            try:
                return read_shots(path)
            except DataError as error:
                shots = find_shots(self.study, seed)
                if shots.digest.encode() not in path.read_bytes():
                    raise
                logger.warning("%s; the same shots are drawn again", error)
        else:
            shots = find_shots(self.study, seed)
        write_shots(shots, path)
        return shots

    def search(self) -> TrialData:
        """Prepare the data of the search's trials, which contains no test image."""
        config = self.study.config
        tasks = tasks_of_search(self.study, self.shots(config.seed))
        heads = () if config.ablation else config.search.heads
        rungs = rung_epochs(config.search.asha, config.training.epochs)
        return replace(self.prepare_tasks(tasks, "val"), heads=heads, scored_at=rungs)

    def test(self, seed: int) -> TrialData:
        """Prepare a seed's training shots, the test split and the test splits of the targets."""
        protocol = self.study.protocol
        targets = self.study.targets()
        shots = None
        if protocol.trains:
            shots = self.shots(seed)
        task = protocol.task_of_test(self.study.dataset, shots, targets)
        heads: tuple[Head | None, ...] = ()
        config = self.study.config
        if protocol.trains and not config.ablation:  # whose cells are read as they are given
            # Zero-shot CLIP and the linear classifier are one training, with a head for each row.
            given = [settings.head for settings in config.search.fixed_baselines.values()]
            heads = (*config.search.heads, *given)
        data = self.prepare_tasks((task,), "test", targets)
        return replace(data, heads=tuple(head for head in HEADS if head in heads))

    def final(self) -> TrialData:
        """Prepare the images of ``final.images``, with the test split unless it is among them."""
        study = self.study
        dataset = study.dataset
        task = labelled_task(study, self.shots(study.config.seed))
        labelled = len(task.train.records)
        targets = study.targets()
        if study.config.final.images == "everything":
            records = dataset.train + dataset.val + dataset.test
            train = replace(task.train, records=in_classes(records, task.train.classes))
            task = Task(train, ())
            targets = []
        # However many images there are, it takes the steps that the labelled ones would take.
        return replace(self.prepare_tasks((task,), "test", targets), epoch_images=labelled)

    def prepare_tasks(
        self, tasks: Sequence[Task], split: Split, targets: Sequence[Dataset] = ()
    ) -> TrialData:
        """Decode the images of some tasks, record which they are and return a trial's data.

        Args:
            tasks: the tasks, one model each.
            split: the split of the evaluation images.
            targets: the further datasets that the tasks are tested on.

        Raises:
            DataError: an image is unreadable, or no image of a part is readable where unreadable
                ones are skipped.
        """
        dataset = self.study.dataset
        data = self.study.config.data
        tables: dict[str, ImageTable] = {}
        for target in targets:
            paths = [record.path for record in target.test]
            tables[target.name] = self._decode(target, paths, self.study.target_root(target.name))
        train_images, eval_images = self._decode_own(tasks, split, tables.keys())
        skipped = {*train_images.skipped, *eval_images.skipped}
        own = skipped, dataset.class_names
        of_targets = {one.name: (tables[one.name].skipped, one.class_names) for one in targets}
        readable_tasks = []
        for task in tasks:
            evaluations = [
                _readable(part, *of_targets.get(part.name, own)) for part in task.evaluations
            ]
            readable_tasks.append(Task(_readable(task.train, *own), tuple(evaluations)))
        digest = sha256_of("".join(task.digest for task in readable_tasks).encode())
        self._record(readable_tasks, digest, (dataset, *targets))
        return TrialData(
            protocol=self.study.protocol,
            class_names=dataset.class_names,
            templates=configured_templates(dataset, data),
            tasks=tuple(readable_tasks),
            digest=digest,
            train_images=train_images.path,
            eval_images=eval_images.path,
            augment=data.augment,
            split=split,
            targets={
                target.name: Target(
                    target.class_names,
                    configured_templates(target, data),
                    tables[target.name].path,
                )
                for target in targets
            },
            reading=self._reading(),
        )

    def _decode_own(
        self, tasks: Sequence[Task], split: Split, targets: Collection[str]
    ) -> tuple[ImageTable, ImageTable]:
        """Decode the training and the evaluation images of the study's own dataset.

        In a search without augmentation, and in a test without training, one table has both.

        Args:
            tasks: the tasks.
            split: the split of the evaluation images.
            targets: the names of the parts that are of further datasets.
        """
        dataset = self.study.dataset
        data = self.study.config.data
        train_paths = _paths(task.train for task in tasks)
        eval_parts = []
        for task in tasks:
            eval_parts += [part for part in task.evaluations if part.name not in targets]
        eval_paths = _paths(eval_parts)
        if train_paths and eval_paths and (data.augment or split == "test"):
            train = self._decode(dataset, train_paths, data.root, keep_aspect=data.augment)
            return train, self._decode(dataset, eval_paths, data.root)
        paths = sorted({*train_paths, *eval_paths})
        keep_aspect = data.augment and not eval_paths
        table = self._decode(dataset, paths, data.root, keep_aspect=keep_aspect)
        return table, table

    def _record(
        self,
        tasks: Sequence[Task],
        digest: str,
        datasets: Sequence[Dataset],
    ) -> None:
        """Write which images and classes the tasks train and are evaluated on.

        The file's name contains the split hash of the trials, so equal data is recorded once.
        """
        path = self.study.folder.path / "shots" / f"tasks-{digest[:SPLIT_HASH]}.jsonl"
        lines = []
        for dataset in datasets:
            header = {"dataset": dataset.name, "class_names": dataset.class_names}
            lines.append(json.dumps(header, ensure_ascii=False))
        for number, task in enumerate(tasks):
            lines.append(json.dumps({"task": number, "digest": task.digest}))
            lines += task.lines()
        contents = ("\n".join(lines) + "\n").encode()
        if not path.exists() or path.read_bytes() != contents:
            make_folder(path.parent)
            write_atomically(path, contents, existing=path.parent)

    def _reading(self) -> ImageReading:
        """Return how images are read, framed as the checkpoint says."""
        return replace(self.study.reading, framing=self.study.architecture.framing)

    def _decode(
        self,
        dataset: Dataset,
        paths: ImagePaths,
        root: Path | None,
        *,
        keep_aspect: bool = False,
    ) -> ImageTable:
        key = dataset.name
        if root:  # different for each folder
            key += f"-{sha256_of(str(root.resolve()).encode())[:8]}"
        cache = ImageCache(
            (self.study.config.storage / IMAGES).resolve(),  # which its studies share
            key,
            self.image_size,
            keep_aspect,
        )
        reading = self._reading()
        file = decode_images(dataset.source, paths, cache, reading=reading, progress=self.progress)
        return ImageTable(file)


def rung_epochs(asha: AshaConfig | None, epochs: int) -> tuple[int, ...]:
    """Return the epochs after which successive halving may stop a trial, rising.

    Args:
        asha: its settings; None means that no trial is stopped.
        epochs: the epochs of a full trial.
    """
    if not asha:
        return ()
    rungs = []
    epoch = float(asha.grace_period)
    while epoch < epochs:
        rungs.append(math.ceil(epoch))
        epoch *= asha.reduction_factor
    return tuple(rungs)


def shots_path(study: Study, seed: int) -> Path:
    """Return the path of the file that records the shots of a seed."""
    return study.folder.path / "shots" / f"shots-{study.config.data.shots}-seed-{seed}.jsonl"


def find_shots(study: Study, seed: int) -> Shots:
    """Draw the shots of a seed, or read the published ones that ``shots_from`` names.

    If nothing is selected by validation, no validation images are drawn.
    """
    dataset = study.dataset
    data = study.config.data
    if data.shots_from and data.shots != ALL:
        return read_published_shots(data.shots_from, dataset, shots=data.shots, seed=seed)
    val_shots: int | None = 0
    if study.protocol.validates(study.config):
        val_shots = data.val_shots
    return draw_shots(dataset, shots=data.shots, val_shots=val_shots, seed=seed, short=data.short)


def configured_templates(dataset: Dataset, data: DataConfig) -> Templates:
    """Return the prompt templates whose mean classifies a dataset; the first is for training."""
    if not data.ensemble:
        return dataset.templates[:1]
    is_configured = data.templates is not None and dataset.name == data.dataset
    return dataset.templates if is_configured else dataset.templates + ENSEMBLE


def tasks_of_search(study: Study, shots: Shots) -> Tasks:
    """Return the tasks that the trials of the search are scored on.

    Raises:
        DataError: see `study.protocols.Protocol.search_tasks`.
    """
    config, dataset, protocol = study.config, study.dataset, study.protocol
    rule = protocol.rule(config, dataset)
    return protocol.search_tasks(dataset, shots, rule, config.search.folds)


def labelled_task(study: Study, shots: Shots) -> Task:
    """Return the task of a model that is trained on the shots and the validation images."""
    labelled = make_shots(shots.dataset, shots.shots, shots.seed, shots.train + shots.val, ())
    return study.protocol.task_of_test(study.dataset, labelled, study.targets())


def _paths(parts: Iterable[Part]) -> list[str]:
    """Return the paths of the images of some parts, sorted."""
    return sorted(set(chain.from_iterable(part.paths for part in parts)))


def _readable(part: Part, skipped: Collection[str], names: ClassNames) -> Part:
    """Return a part without the images that were skipped because they are unreadable.

    Warn of classes that have no image left.

    Raises:
        DataError: none of its images is readable.
    """
    records = tuple(record for record in part.records if record.path not in skipped)
    if part.records and not records:
        raise DataError(f"no image of the part '{part.name}' can be read")
    lost = {record.label for record in part.records} - {record.label for record in records}
    if lost:
        logger.warning(
            "the part '%s' has no readable image of %s; unreadable images were skipped",
            part.name,
            listed([names[label] for label in sorted(lost)]),
        )
    return replace(part, records=records)
