"""Does training gain by making up for classes of unequal size?

    python tests/benchmarks/answer/unequal.py --only digits glyphs second   # development images
    python tests/benchmarks/answer/unequal.py --only handwriting fonts      # images of the claim

Training images are thinned out to a long tail, with classes in random order: the sizes fall
geometrically to a tenth or a hundredth. All that is left is trained on, by CLIPFit's subset at one
pair of rates, with each head and each way of `training.balance`. Draws are paired.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean

import torch

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.config.schema import StudyConfig
from study.config.trial_settings import Head, TrialSettings
from study.data.records import Dataset
from study.embedded import backbone_path
from study.report.formatting import format_difference
from study.results.intervals import mean_interval
from study.search.make_trial import make_trial
from study.search.searcher import Proposal
from study.storage.study_folder import StudyFolder
from study.trial.prediction import Prediction
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from tests.benchmarks.answer.cases import configuration
from tests.benchmarks.answer.shipping import SHIPPED, second_checkpoint
from tests.benchmarks.measuring import machine, table

RATIOS = (10, 100)
HEADS: tuple[Head, ...] = ("text", "linear")
RATES = {"bias": 0.05, "ln": 0.05}
WAYS = ("none", "logit_adjusted", "weights")
FIXED = {
    "protocol": "few_shot",
    "data.shots": "all",
    "data.augment": "false",
    "search.trials": "0",
    "search.asha": "null",
    "search.baselines": "{zero-shot: {subset: none}}",
    "refit.images": "shots",
    "refit.average": "1",
    "training.epochs": "12",
    "confirm.strength": "null",
}
DATASETS = {"glyphs": {"data.dataset": "glyphs"}}


def main() -> None:
    """Train what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SHIPPED, default=SHIPPED)
    parser.add_argument("--draws", nargs="+", type=int, default=range(301, 311))
    parser.add_argument("--storage", type=Path, default=Path("runs/unequal"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    storage = options.storage.resolve()
    storage.mkdir(parents=True, exist_ok=True)
    print(f"{shlex.join(sys.argv)}: {machine()}\n", flush=True)
    rows = []
    for name in options.only:
        for ratio in RATIOS:
            draws = [draw_scores(name, ratio, draw, storage) for draw in options.draws]
            rows += table_rows(f"{name}, {ratio}:1", draws)
    print(table("Training on long tails", HEADER, rows))


HEADER = ["case", "head"]
for measure in ("balanced %", "rarest third %"):
    HEADER += [measure, *(f"{way} − none" for way in WAYS[1:])]
Scores = Mapping[str, tuple[float, float]]
"""The balanced accuracy and that of the rarest third of classes, by head and way."""


def table_rows(case: str, draws: list[Scores]) -> list[list[str]]:
    """Return a row a head: scores without a way, and what each way changes, over draws."""
    rows = []
    for head in HEADS:
        row = [case, head]
        for which in range(2):
            base = [scores[f"{head}/none"][which] for scores in draws]
            row.append(f"{100 * fmean(base):.1f}")
            for way in WAYS[1:]:
                values = [scores[f"{head}/{way}"][which] for scores in draws]
                gains = [value - without for value, without in zip(values, base, strict=True)]
                row.append(format_difference(mean_interval(gains)))
        rows.append(row)
    return rows


def draw_scores(name: str, ratio: int, draw: int, storage: Path) -> Scores:
    """Return the scores of all trainings on one draw, which are kept in a file."""
    kept = storage / f"{name}-{ratio}-{draw}.json"
    if kept.exists():
        return {key: tuple(value) for key, value in json.loads(kept.read_text()).items()}
    changes = {**FIXED, **DATASETS.get(name, {})}
    if name == "second":
        changes["backbone.name"] = str(second_checkpoint(storage))
    case = replace(SHIPPED[name], study="quickstart", changes=changes)
    config = configuration(name, case, storage, draw)
    folder = StudyFolder(storage / "studies" / kept.stem)
    folder.path.mkdir(parents=True, exist_ok=True)
    study = Study(config, folder)
    dataset = long_tailed(study.dataset, ratio, draw)
    scores = {}
    for head in HEADS:
        for way in WAYS:
            scores[f"{head}/{way}"] = train(study, dataset, head, way, draw)
    kept.write_text(json.dumps(scores))
    return scores


def long_tailed(dataset: Dataset, ratio: int, draw: int) -> Dataset:
    """Return a dataset whose training images, with those of validation, are a long tail."""
    chance = random.Random(draw)
    by_label = defaultdict(list)
    for record in dataset.train + dataset.val:
        by_label[record.label].append(record)
    most = min(len(records) for records in by_label.values())
    order = chance.sample(sorted(by_label), len(by_label))
    train = []
    for rank, label in enumerate(order):
        size = max(1, round(most * ratio ** (-rank / (len(order) - 1))))
        train += chance.sample(by_label[label], size)
    return replace(dataset, train=tuple(train), val=())


def train(study: Study, dataset: Dataset, head: Head, way: str, draw: int) -> tuple[float, float]:
    """Return the test scores of one training."""
    training = study.config.training.model_copy(update={"balance": way})
    changed = study.with_config(study.config.model_copy(update={"training": training}))
    vars(changed)["dataset"] = dataset
    data = Preparer(changed, changed.architecture.image_size).confirm(draw)
    settings = TrialSettings(subset="clipfit", rates=RATES, distill_weight=1, head=head)
    trial = make_trial(changed, data, "confirm", Proposal(settings, "clipfit", 0), seed=draw)
    *_, last = run_trial(trial, data, _backbone(study.config))
    recalls = class_recalls(last.predictions)
    sizes = Counter(dataset.class_names[record.label] for record in dataset.train)
    rarest = sorted(recalls, key=lambda name: sizes[name])[: len(recalls) // 3]
    return fmean(recalls.values()), fmean(recalls[name] for name in rarest)


def class_recalls(predictions: list[Prediction]) -> dict[str, float]:
    """Return the share of each class's images that is predicted rightly."""
    right = defaultdict(list)
    for prediction in predictions:
        right[prediction.label].append(prediction.label == prediction.predicted)
    return {name: fmean(values) for name, values in right.items()}


@cache
def _loaded(name: str) -> Backbone:
    return load_backbone(backbone_path(name))


def _backbone(config: StudyConfig) -> Backbone:
    return _loaded(config.backbone.name)


if __name__ == "__main__":
    main()
