"""Accuracies of a checkpoint on the packaged datasets, zero-shot and tuned, and their record."""

import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from study.data.datasets import load_dataset
from study.data.images.table import ImageTable, decode_images, normalize
from study.data.prompts import prompts
from study.data.records import Dataset, Record
from study.data.shots import draw_shots
from study.data.tasks import Part, Task, class_halves, confirm_task
from study.method.model import (
    Backbone,
    FewShotClassifier,
    accuracy,
    encode_prompts,
    load_backbone,
    predict,
)
from study.method.subsets import parse
from study.method.training import Schedule, make_optimizer, train_epoch
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
        scored = {"all": (*base, *new), "base": base, "new": new}
        task = confirm_task(self.dataset, None, scored)
        return self._scores(FewShotClassifier(self.backbone, parse("none")), task)

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
        return {"seconds": perf_counter() - started, **self._scores(classifier, task)}

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

    def _scores(self, classifier: FewShotClassifier, task: Task) -> dict[str, float]:
        scores = {}
        for part in task.evaluations:
            pixels, labels = self._images(part)
            with torch.no_grad():
                text = encode_prompts(classifier, self._tokens(part.classes))
            found, _ = predict(classifier, pixels.split(256), text)
            scores[part.name] = accuracy(found, labels)
        if "new" in scores:
            scores["hmean"] = hmean(scores["base"], scores["new"])
        return scores


def evaluate(folder: Path, seeds: Sequence[int]) -> None:
    """Print zero-shot and tuned accuracies, and write them to zero_shot.json.

    Args:
        folder: the folder of the checkpoint.
        seeds: the seeds of every tuned accuracy.
    """
    backbone = load_backbone(folder)
    benches = {name: Bench(name, backbone) for name in ("digits", "glyphs")}
    found: dict[str, Any] = {
        "fingerprint": backbone.fingerprint,
        "parameters": sum(p.numel() for p in backbone.clip.parameters()),
        "zero_shot": {name: bench.zero_shot() for name, bench in benches.items()},
    }

    def measure(title: str, dataset: str, protocol: Protocol, settings: Iterable[Setting]) -> None:
        rows = []
        for setting in settings:
            scores = benches[dataset].mean(setting, protocol=protocol, seeds=seeds)
            rows.append({"setting": str(setting), **scores})
            logger.info("%s: %s", title, rows[-1])
        found[title] = {
            "dataset": dataset,
            "protocol": protocol.name,
            "seeds": len(seeds),
            "rows": rows,
        }

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
    measure("clipfit_by_learning_rate", "digits", FewShot(), clipfit)
    measure("subsets", "digits", FewShot(), subsets)
    measure("text_bias_by_distill_weight", "digits", BaseToNew(), weights)
    measure("clipfit_base_to_new", "digits", BaseToNew(), clipfit[1::2])
    measure("clipfit_glyphs", "glyphs", BaseToNew(), clipfit[1::2])
    measure("text_bias_glyphs", "glyphs", BaseToNew(), weights)

    console = Console()
    for name, scores in found["zero_shot"].items():
        console.print(_table(f"zero-shot, {name}", [scores]))
    for title, block in found.items():
        if isinstance(block, dict) and "rows" in block:
            console.print(_table(f"{title}, {block['dataset']}", block["rows"]))
    target = folder / "zero_shot.json"
    rounded = json.loads(json.dumps(found), parse_float=lambda digits: round(float(digits), 4))
    target.write_text(json.dumps(rounded, indent=2, ensure_ascii=False) + "\n", "utf-8")
    console.print(f"written: {target}")


def _table(title: str, rows: list[Mapping[str, Any]]) -> Table:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    return table


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.1f}" if name == "seconds" else f"{100 * value:.1f} %"
