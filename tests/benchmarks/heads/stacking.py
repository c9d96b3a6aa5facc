"""What does H lose where no constant is subtracted from the logits of trained classes?

    python tests/benchmarks/heads/stacking.py

Under the protocol `generalized` all names compete. The constant γ of calibrated stacking is the one
with the highest H on the class folds. H is that of the test, without γ and with it. *Best* has the
highest H on the folds among zero-shot CLIP and CLIPFit at each rate, with each of two heads.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import torch
from torch import Tensor

from study.config.loading import load_config
from study.config.trial_settings import TrialSettings
from study.method.head import GRID, train_heads
from study.method.logistic_head import train_logistic_head
from study.method.model import apply_strength
from study.protocols.competition import (
    Competition,
    Competitors,
    accuracies,
    best_calibration,
    hmean,
)
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.study import Study, TrialData
from study.trial.task_evaluation import rival_classes
from study.trial.task_features import text_features
from tests.benchmarks.heads.heads import (
    CONFIGS,
    FROZEN,
    Features,
    features_of,
    near,
    text_and_means,
    trained_models,
)
from tests.benchmarks.measuring import machine, table

CHOICES = {
    "text or grid": ("text", "grid"),
    "text or logistic": ("text", "logistic"),
}
"""What a study chooses among, with each training of the encoders."""


class Score(NamedTuple):
    """What one model scores, as fractions."""

    val: float
    """H on the class folds, without γ."""
    plain: float
    """H on the test, without γ."""
    stacked: float
    """H on the test, with γ."""


def main() -> None:
    """Train all models, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=range(411, 421), help="at least 2")
    parser.add_argument("--rates", nargs="+", type=float, default=(0.02, 0.05, 0.1))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{shlex.join(sys.argv)}: {machine()}\n", flush=True)
    scores: dict[str, list[Score]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            for name, score in draw_scores(seed, options.rates, Path(folder)).items():
                scores[name].append(score)
            print(f"seed {seed}", file=sys.stderr, flush=True)
    rows = []
    for name, draws in scores.items():
        losses = [100 * (draw.plain - draw.stacked) for draw in draws]
        means = [f"{100 * fmean(values):.1f}" for values in zip(*draws, strict=True)]
        error = stdev(losses) / math.sqrt(len(losses))
        rows.append([name, *means, f"{fmean(losses):+.1f} ± {error:.1f}"])
    header = ("encoders, head", "H on folds, %", "H", "H with γ", "without γ ± standard error")
    print(table("Glyphs, generalized", header, rows))


def draw_scores(seed: int, rates: Sequence[float], storage: Path) -> dict[str, Score]:
    """Return the scores of each model on one draw of shots, and those of the best."""
    config = load_config(CONFIGS / "generalized.yaml", [f"storage={storage}", f"seed={seed}"])
    scores: dict[tuple[str, str], Score] = {}
    with tempfile.TemporaryDirectory(dir=storage) as folder:
        study = Study(config, StudyFolder(Path(folder)))
        preparer = Preparer(study, study.architecture.image_size)
        data = preparer.search(), preparer.confirm(seed)
        encoders = {"frozen": FROZEN}
        for rate in rates:
            encoders[f"CLIPFit {rate:g}"] = TrialSettings(
                subset="clipfit", rates={"bias": rate, "ln": rate}, distill_weight=1
            )
        for encoder, settings in encoders.items():
            folds, (test,) = (
                [*map(competitions, task_features(study, one, settings))] for one in data
            )
            for head in test:
                scores[encoder, head] = score_of([fold[head] for fold in folds], test[head])
            grid = max(GRID, key=lambda training: scores[encoder, str(training)].val)
            scores[encoder, "grid"] = scores[encoder, str(grid)]
            for training in GRID:
                del scores[encoder, str(training)]
    found = {f"{encoder}, {head}": score for (encoder, head), score in scores.items()}
    for name, heads in CHOICES.items():
        of_heads = [score for (_, head), score in scores.items() if head in heads]
        found[f"best, {name}"] = max(of_heads, key=lambda score: score.val)
    return found


def score_of(folds: Sequence[Competition], test: Competition) -> Score:
    """Return the scores of one model, whose γ is chosen on the folds."""
    gamma, _ = best_calibration(folds)
    pairs = accuracies(folds), accuracies([test]), accuracies([test], gamma)
    return Score(*(hmean(*pair) for pair in pairs))


class AllNames(NamedTuple):
    """The features of a task whose images all names compete for."""

    features: Features
    """Those of the trained classes, and the images."""
    text: Tensor
    """All names, (names, dim) float32."""
    trained: Tensor
    """Which of them are trained, (names,) bool."""


def task_features(study: Study, data: TrialData, settings: TrialSettings) -> Iterator[AllNames]:
    """Yield the features of each task, at the protocol's strength."""
    for model in trained_models(study, data, settings):
        rivals = rival_classes(model.task, data)
        trained = torch.isin(torch.tensor(rivals), torch.tensor(model.task.train.classes))
        with apply_strength(model.classifier.tuned, data.protocol.strength), torch.no_grad():
            text = text_features(model, data.own_target, rivals)
            yield AllNames(features_of(model, data), text, trained)


def competitions(task: AllNames) -> dict[str, Competition]:
    """Return the competition of all names with each head."""
    features, text, trained = task
    images, labels, base, scale, *_ = features
    heads = {"text": base, "logistic": train_logistic_head(images, labels, base, scale)}
    heads["logistic near text and means"] = near(text_and_means, 20.0, 1.0, features)
    rows_of_grid = train_heads(images, labels, base, scale, GRID)
    heads |= zip(map(str, GRID), rows_of_grid, strict=True)
    found = {}
    for head, rows in heads.items():
        names = text.clone()
        names[trained] = rows
        logits = features.tested @ names.T
        of_trained, best = logits.masked_fill(~trained, -torch.inf).max(dim=1)
        of_other, other = logits.masked_fill(trained, -torch.inf).max(dim=1)
        seen = trained[features.truth]
        right = torch.where(seen, best, other) == features.truth
        columns = of_trained - of_other, right, features.truth
        kinds = [[column[kind].numpy() for column in columns] for kind in (seen, ~seen)]
        found[head] = Competition(*(Competitors(*kind) for kind in kinds))
    return found


if __name__ == "__main__":
    main()
