"""What one pass before training says of each site, against what training it alone gives.

    python tests/benchmarks/search/sensitivity.py            # both studies, ten minutes of a core
    python tests/benchmarks/search/sensitivity.py --tiny     # short trainings: shows that it works

Each site is trained alone at each of `RATES`, and classifies by the text and by a linear head. The
best rate of each is the one that validation prefers, and is tested on further draws of shots.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shlex
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from study.backbones.architecture import ENCODERS
from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.config.trial_settings import Head, TrialSettings
from study.data.images.table import ImageTable, normalize
from study.data.prompts import prompts
from study.embedded import backbone_path
from study.method.head import DEFAULT, train_heads
from study.method.model import FewShotClassifier
from study.method.parameters import kind_names
from study.method.sensitivity import tensor_sensitivities
from study.method.subsets import parse
from study.method.training import Objective
from study.results.sensitivity import Sensitivities
from study.results.statistics import RankAgreement, rank_agreement
from study.search.make_trial import make_trial
from study.search.searcher import Proposal
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from tests.benchmarks.measuring import machine, table
from tests.benchmarks.search.record import STUDIES, TINY
from tests.benchmarks.search.replayed_search import load_study
from tests.not_none import not_none

RATES = (0.1, 0.3, 1.0, 3.0, 9.0)
SHORT = ("training.epochs=10",)
DISTILL_WEIGHT = 2.0
TESTED = (101, 102, 103)
"""The seeds of the draws that are tested."""
HEADS: tuple[Head, ...] = ("text", "linear")
GRADIENTS = ("zero-shot", "after the head")


class Job(NamedTuple):
    """A site of a study to train alone."""

    study: str
    storage: Path
    changes: tuple[str, ...]
    site: str


class WithHead(FewShotClassifier):
    """A classifier with the class vectors of a head, which still move as the text features do."""

    change: Tensor | float = 0.0
    """What the head adds to the text features, (classes, dim) float32."""

    def encode_text(self, input_ids: Tensor) -> Tensor:
        """Return the class vectors, (classes, dim) float32 of unit length."""
        return F.normalize(super().encode_text(input_ids) + self.change, dim=-1)


def main() -> None:
    """Train each site of each study alone, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", nargs="+", default=STUDIES, choices=STUDIES)
    parser.add_argument("--storage", type=Path, default=Path("runs/sensitivity"), help="of shots")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    changes = TINY if options.tiny else SHORT
    print(f"`{shlex.join(['python', *sys.argv])}`, {machine()}\n", flush=True)
    ranks = []
    for name in options.studies:
        storage = options.storage.resolve()
        (storage / name).mkdir(parents=True, exist_ok=True)
        study = load_study(name, storage, changes)
        gains = gains_of(study)
        sites = study.config.search.space.sites
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            jobs = [Job(name, storage, changes, site) for site in sites]
            scores = {}
            for site, by_head in zip(sites, pool.imap(train_alone, jobs), strict=True):
                scores[site] = by_head
                print(name, site, by_head, file=sys.stderr, flush=True)
        print(site_table(name, gains, scores), flush=True)
        ranks += rank_rows(name, gains, scores)
    print(table("Rank correlation (Spearman) over sites", ["study", "ablation", *HEADER], ranks))


HEADER = [f"{gradient}, {where}" for gradient in GRADIENTS for where in ("all sites", *ENCODERS)]


def gains_of(study: Study) -> dict[str, Sensitivities]:
    """Return what each tensor could gain at the rate 1, for both gradients."""
    backbone = _backbone()
    data = Preparer(study, study.architecture.image_size).labelled()
    train = data.tasks[0].train
    subset = " + ".join(f"{encoder}.{kind}" for encoder in ENCODERS for kind in kind_names())
    classifier = WithHead(backbone, parse(subset))
    pixels = ImageTable(data.train_images).pixels([record.path for record in train.records])
    images = normalize(pixels, backbone.image_mean, backbone.image_std)
    labels = torch.tensor([train.classes.index(record.label) for record in train.records])
    names = [data.class_names[label] for label in train.classes]
    ids = backbone.tokenize([text for (text,) in prompts(names, data.templates[:1])])
    with torch.no_grad():
        text, features = classifier.encode_text(ids), classifier.encode_image(images)
    scale = classifier.clip.logit_scale.exp().item()
    (rows,) = train_heads(features, labels, text, scale, [DEFAULT])
    gains = {}
    changes: tuple[Tensor | float, ...] = (0.0, rows - text)
    for gradient, change in zip(GRADIENTS, changes, strict=True):
        classifier.change = change
        objective = Objective(ids, classifier.encode_text(ids).detach(), DISTILL_WEIGHT)
        rates = dict.fromkeys(kind_names(), 1.0)
        batches = zip(images.split(32), labels.split(32), strict=True)
        tensors = tensor_sensitivities(classifier, batches, objective, rates)
        gains[gradient] = Sensitivities(study.architecture.depths, tensors)
    return gains


def train_alone(job: Job) -> dict[Head, float]:
    """Return the mean test score of a site at its best rate by validation, for each head."""
    torch.set_num_threads(1)
    study = load_study(job.study, job.storage, job.changes)
    preparer = Preparer(study, study.architecture.image_size)
    data = preparer.search()
    best: dict[Head, tuple[float, TrialSettings]] = {}
    for rate in RATES:
        rates = dict.fromkeys(kind_names(), rate)
        trials = []
        for head in HEADS:
            settings = TrialSettings(
                subset=job.site, rates=rates, distill_weight=DISTILL_WEIGHT, head=head
            )
            trial = make_trial(study, data, "search", Proposal(settings, "search", 0))
            trials.append(trial.model_copy(update={"scored_at": ()}))
        *_, last = run_trial(trials[0], data, _backbone(), siblings=trials[1:])
        for trial, report in zip(trials, (last, *last.siblings), strict=True):
            score = report.metrics["val_score"]
            head = trial.settings.head
            if head not in best or score > best[head][0]:
                best[head] = score, trial.settings.with_reported_head(report.metrics)
    tests = {}
    for head, (_, settings) in best.items():
        scores = []
        for seed in TESTED:
            draw = preparer.confirm(seed)
            proposal = Proposal(settings, "confirm", 0)
            trial = make_trial(study, draw, "confirm", proposal, label="", seed=seed)
            *_, last = run_trial(trial, draw, _backbone())
            scores.append(last.metrics["test_score"])
        tests[head] = sum(scores) / len(scores)
    return tests


Gains = Mapping[str, Sensitivities]
Scores = Mapping[str, Mapping[Head, float]]


def site_table(name: str, gains: Gains, scores: Scores) -> str:
    """Return what each site could gain, and its test scores."""
    rows = []
    for site, by_head in sorted(scores.items(), key=lambda pair: -pair[1]["text"]):
        shares = [f"{100 * not_none(gains[gradient].share(site)):.1f}" for gradient in GRADIENTS]
        rows.append([site, *shares, *(f"{100 * by_head[head]:.1f}" for head in HEADS)])
    shares_of = [f"sensitivity %, {gradient}" for gradient in GRADIENTS]
    return table(name, ["site", *shares_of, *(f"test %, {head} head" for head in HEADS)], rows)


def rank_rows(name: str, gains: Gains, scores: Scores) -> list[list[str]]:
    """Return the rank correlations of each head's test scores with both sensitivities."""
    rows = []
    for head in HEADS:
        row = [name, f"{head} head"]
        for gradient in GRADIENTS:
            for encoder in ("", *ENCODERS):
                sites = [site for site in scores if site.startswith(encoder)]
                pairs = [
                    (not_none(gains[gradient].share(site)), scores[site][head]) for site in sites
                ]
                row.append(_format(rank_agreement(pairs)))
        rows.append(row)
    return rows


def _format(agreement: RankAgreement | None) -> str:
    if agreement is None or agreement.interval is None:
        return "–"
    low, high = agreement.interval
    return f"{agreement.rho:+.2f} [{low:+.2f}, {high:+.2f}]".replace("-", "−")


@cache
def _backbone() -> Backbone:
    return load_backbone(backbone_path("embedded"))


if __name__ == "__main__":
    main()
