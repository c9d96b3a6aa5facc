"""Accuracies of a checkpoint on the packaged datasets, zero-shot and tuned by CLIPFit."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter

import torch
from torch import Tensor

from study.data.datasets import load_dataset
from study.data.images.table import ImageTable, decode_images, normalize
from study.data.prompts import prompts
from study.data.records import Dataset, Record
from study.data.shots import draw_shots
from study.data.tasks import Part, Task, class_halves
from study.method.model import Backbone, FewShotClassifier, accuracy, encode_prompts, predict
from study.method.subsets import parse
from study.method.training import Schedule, make_optimizer, train_epoch
from study.protocols import Protocol
from study.protocols.base_to_new import hmean

SHOTS, EPOCHS, BATCH = 16, 30, 32


@dataclass(frozen=True)
class Setting:
    """One configuration to tune: the subset, its learning rates, and λ."""

    subset: str
    rates: Mapping[str, float]
    """The learning rate by kind of parameter."""
    distill_weight: float

    def __str__(self) -> str:
        rates = " ".join(f"{kind} {rate:g}" for kind, rate in self.rates.items())
        return f"{self.subset}, {rates}, λ {self.distill_weight:g}"


class Bench:
    """A packaged dataset decoded for one checkpoint, and the accuracies measured on it."""

    def __init__(self, dataset: str, backbone: Backbone) -> None:
        self.backbone = backbone
        self.dataset: Dataset = load_dataset(dataset)
        records = (*self.dataset.train, *self.dataset.test)
        with tempfile.TemporaryDirectory() as folder:
            table = ImageTable(
                decode_images(
                    self.dataset.source,
                    [record.path for record in records],
                    size=backbone.image_size,
                    cache=Path(folder),
                    key=dataset,
                )
            )
            pixels = table.pixels([record.path for record in records]).clone()
        self._pixels = normalize(pixels, backbone.image_mean, backbone.image_std)
        self._row = {record.path: row for row, record in enumerate(records)}

    def pixels(self, records: Sequence[Record]) -> Tensor:
        """Return the normalized pixels of records, (records, 3, size, size) float32."""
        return self._pixels[[self._row[record.path] for record in records]]

    def zero_shot(self) -> dict[str, float]:
        """Return the test accuracies of the untouched checkpoint, as fractions."""
        base, new = class_halves(record.label for record in self.dataset.train)
        test = self.dataset.test
        classifier = FewShotClassifier(self.backbone, parse("none"))
        scores = {}
        for name, classes in (("all", (*base, *new)), ("base", base), ("new", new)):
            part = Part(name, tuple(r for r in test if r.label in set(classes)), classes)
            scores[name] = self._accuracy(classifier, part)
        return scores | {"hmean": hmean(scores["base"], scores["new"])}

    def tune(self, setting: Setting, *, protocol: Protocol, seed: int) -> dict[str, float]:
        """Tune once and return the test accuracies, as fractions, and the seconds of training."""
        shots = draw_shots(self.dataset, shots=SHOTS, seed=seed)
        task: Task = protocol.confirm_task(self.dataset, shots)
        classifier = FewShotClassifier(self.backbone, parse(setting.subset))
        optimizer = make_optimizer(classifier.tuned, setting.rates)
        input_ids = self._tokens(task.train.classes)
        with torch.no_grad():
            zero_shot_text = classifier.encode_text(input_ids)
        pixels, labels = self._images(task.train)
        generator = torch.Generator().manual_seed(seed)
        schedule, started = Schedule(EPOCHS), perf_counter()
        for epoch in range(EPOCHS):
            order = torch.randperm(len(labels), generator=generator)
            train_epoch(
                classifier,
                optimizer,
                [(pixels[rows], labels[rows]) for rows in order.split(BATCH)],
                schedule=schedule,
                epoch=epoch,
                prompts=input_ids,
                zero_shot_text=zero_shot_text,
                distill_weight=setting.distill_weight,
            )
        scores = {"seconds": perf_counter() - started}
        scores |= {part.name: self._accuracy(classifier, part) for part in task.evaluations}
        if "new" in scores:
            scores["hmean"] = hmean(scores["base"], scores["new"])
        return scores

    def mean(
        self, setting: Setting, *, protocol: Protocol, seeds: Sequence[int]
    ) -> dict[str, float]:
        """Return the mean of each result of `tune` over seeds."""
        runs = [self.tune(setting, protocol=protocol, seed=seed) for seed in seeds]
        return {name: mean(run[name] for run in runs) for name in runs[0]}

    def _tokens(self, classes: Sequence[int]) -> Tensor:
        names = [self.dataset.class_names[label] for label in classes]
        texts = prompts(names, self.dataset.templates[:1])
        return self.backbone.tokenize([text for group in texts for text in group])

    def _images(self, part: Part) -> tuple[Tensor, Tensor]:
        position = {label: index for index, label in enumerate(part.classes)}
        labels = torch.tensor([position[record.label] for record in part.records])
        return self.pixels(part.records), labels

    def _accuracy(self, classifier: FewShotClassifier, part: Part) -> float:
        pixels, labels = self._images(part)
        with torch.no_grad():
            text = encode_prompts(classifier, self._tokens(part.classes))
        return accuracy(predict(classifier, pixels.split(256), text)[0], labels)
