"""Accuracies of a checkpoint on the packaged datasets, zero-shot and tuned, and their record."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.data.datasets import load_dataset
from study.data.images.decode import preprocess
from study.data.images.table import normalize
from study.data.prompts import prompts
from study.data.records import Dataset, Record
from study.data.shots import draw_shots
from study.data.tasks import Part, Task, confirm_task
from study.method.model import FewShotClassifier, accuracy, classify, encode_prompts
from study.method.subsets import parse
from study.method.training import Objective, Schedule, make_optimizer, train_epoch
from study.protocols import BaseToNew, FewShot, Protocol, hmean

logger = logging.getLogger(__name__)

RATES = (0.0005, 0.002, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
CLIPFIT = "text.mlp.fc2.bias + vision.ln"
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
        paths = [record.path for record in (*self.dataset.train, *self.dataset.test)]
        squares = []
        for path in paths:
            image = self.dataset.source.open_image(path)
            squares.append(preprocess(image, size=backbone.image_size, keep_aspect=False))
        pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)
        images = normalize(pixels, backbone.image_mean, backbone.image_std)
        self._pixels = dict(zip(paths, images, strict=True))

    def pixels(self, records: Sequence[Record]) -> Tensor:
        """Return the normalized pixels of records, (records, 3, size, size) float32."""
        return torch.stack([self._pixels[record.path] for record in records])

    def zero_shot(self) -> dict[str, float]:
        """Return the test accuracies of the untouched checkpoint, as fractions."""
        classes = tuple(range(len(self.dataset.class_names)))
        scored = {"all": classes, **BaseToNew().scored(self.dataset)}
        untouched = FewShotClassifier(self.backbone, parse("none"))
        return self._scores(untouched, confirm_task(self.dataset, None, scored))

    def tune(self, setting: Setting, *, protocol: Protocol, seed: int) -> dict[str, float]:
        """Tune once and return the test accuracies, as fractions, and the seconds of training."""
        task = protocol.confirm_task(self.dataset, draw_shots(self.dataset, shots=SHOTS, seed=seed))
        classifier = FewShotClassifier(self.backbone, parse(setting.subset))
        optimizer = make_optimizer(classifier.tuned, setting.rates)
        input_ids = self._tokens(task.train)
        zero_shot_text = encode_prompts(classifier, input_ids)
        objective = Objective(input_ids, zero_shot_text, setting.distill_weight)
        pixels, labels = self.pixels(task.train.records), _labels(task.train)
        generator = torch.Generator().manual_seed(seed)
        started = perf_counter()
        for epoch in range(EPOCHS):
            order = torch.randperm(len(labels), generator=generator)
            Schedule(EPOCHS).set_rates(optimizer, epoch)
            train_epoch(
                classifier,
                optimizer,
                [(pixels[rows], labels[rows]) for rows in order.split(BATCH)],
                objective,
                epoch=epoch,
            )
        return {"seconds": perf_counter() - started, **self._scores(classifier, task)}

    def mean(
        self, setting: Setting, *, protocol: Protocol, seeds: Sequence[int]
    ) -> dict[str, float]:
        """Return the mean of each result of `tune` over seeds."""
        runs = [self.tune(setting, protocol=protocol, seed=seed) for seed in seeds]
        return {name: mean(run[name] for run in runs) for name in runs[0]}

    def _tokens(self, part: Part) -> Tensor:
        names = [self.dataset.class_names[label] for label in part.classes]
        texts = prompts(names, self.dataset.templates[:1])
        return self.backbone.tokenize([text for (text,) in texts])

    def _scores(self, classifier: FewShotClassifier, task: Task) -> dict[str, float]:
        scores = {}
        for part in task.evaluations:
            text = encode_prompts(classifier, self._tokens(part))
            found, _ = classify(
                classifier, map(classifier.encode_image, self.pixels(part.records).split(256)), text
            )
            scores[part.name] = accuracy(found, _labels(part))
        if "new" in scores:
            scores["hmean"] = hmean(scores["base"], scores["new"])
        return scores


def _labels(part: Part) -> Tensor:
    """Return the position of each image's class among those of the part, (images,) int64."""
    return torch.tensor([part.classes.index(record.label) for record in part.records])


def evaluate(folder: Path, seeds: Sequence[int]) -> None:
    """Write zero-shot and tuned accuracies to zero_shot.json, and log each as it is found.

    Args:
        folder: the folder of the checkpoint.
        seeds: the seeds of every tuned accuracy.
    """
    backbone = load_backbone(folder)
    benches = {name: Bench(name, backbone) for name in ("digits", "glyphs")}
    found: dict[str, Any] = {
        "fingerprint": backbone.fingerprint,
        "parameters": backbone.clip.num_parameters(),
        "zero_shot": {name: bench.zero_shot() for name, bench in benches.items()},
    }
    logger.info("zero-shot: %s", found["zero_shot"])
    clipfit = [Setting(CLIPFIT, {"bias": rate, "ln": rate}, 2) for rate in RATES]
    subsets = [
        Setting(subset, {"bias": rate, "ln": rate}, 2)
        for subset in (CLIPFIT, "text.bias", "vision.bias", "bitfit", "vision.ln", "ln")
        for rate in (0.02, 0.1)
    ]
    weights = [
        Setting("text.mlp.fc2.bias", {"bias": rate}, weight)
        for rate in (0.002, 0.02)
        for weight in (0, 2, 8)
    ]
    comparisons: dict[str, tuple[str, Protocol, list[Setting]]] = {
        "clipfit_by_learning_rate": ("digits", FewShot(), clipfit),
        "subsets": ("digits", FewShot(), subsets),
        "text_bias_by_distill_weight": ("digits", BaseToNew(), weights),
        "clipfit_base_to_new": ("digits", BaseToNew(), clipfit[1::2]),
        "clipfit_glyphs": ("glyphs", BaseToNew(), clipfit[1::2]),
        "text_bias_glyphs": ("glyphs", BaseToNew(), weights),
    }
    for title, (dataset, protocol, settings) in comparisons.items():
        comparison = {"dataset": dataset, "protocol": protocol.name, "seeds": len(seeds)}
        rows: list[dict[str, Any]] = []
        for setting in settings:
            scores = benches[dataset].mean(setting, protocol=protocol, seeds=seeds)
            rows.append({"setting": str(setting), **scores})
            logger.info("%s: %s", title, rows[-1])
        found[title] = {**comparison, "rows": rows}
    target = folder / "zero_shot.json"
    rounded = json.loads(json.dumps(found), parse_float=lambda digits: round(float(digits), 4))
    target.write_text(json.dumps(rounded, indent=2, ensure_ascii=False) + "\n", "utf-8")
    logger.info("written: %s", target)
