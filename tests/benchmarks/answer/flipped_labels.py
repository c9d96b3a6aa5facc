"""Does the check of labels find labels that were flipped, and better than one model does?

    python tests/benchmarks/answer/flipped_labels.py digits glyphs second  # development images
    python tests/benchmarks/answer/flipped_labels.py handwriting fonts     # those of the claim

A share of all labels of training images is replaced at random by other classes. Shots are drawn,
and a few trials are trained on their folds in this process; it goes on where it was. Images are
ordered by the check, and by the winner's own confidence in the label: precision of as many images
as labels were flipped among the shots, recall of twice as many. The check also says how many.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq

from study.backbones.load_backbone import load_backbone
from study.data.records import Dataset, Records
from study.embedded import backbone_path
from study.report.formatting import format_difference, percent
from study.results.confident_learning import doubt_labels
from study.results.intervals import mean_interval
from study.results.label_check import ensemble_votes
from study.search.make_trial import make_trial
from study.search.samplers import seed_from_text, tpe
from study.search.searcher import Proposal
from study.selection.validation import validation_to_parquet
from study.storage.study_folder import StudyFolder
from study.trial.predictions import read_parquet
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from tests.benchmarks.answer.cases import configuration
from tests.benchmarks.answer.shipping import SHIPPED, second_checkpoint
from tests.benchmarks.measuring import machine, table
from tests.benchmarks.search.record import make_space

TRIALS = 12
# Most trials of a search that finish have rates like these, as successive halving stops others.
SMALL = {
    "protocol": "few_shot",
    "data.shots": "16",
    "training.epochs": "8",
    "search.selection": "folds",
    "search.folds": "4",
    "search.space.rates": "{bias: [0.03, 0.3], ln: [0.03, 0.3]}",
}
MEASURES = ("precision at n", "recall at 2n", "doubted / n", "precision of the doubted")
SHARES, SEEDS = (0.05, 0.1), range(1, 11)
STORAGE = Path("runs/flipped").resolve()


@dataclass(frozen=True)
class FlippedStudy(Study):
    """A study of a dataset in which a share of the labels is wrong."""

    share: float = 0.0

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset with wrong labels."""
        dataset = super().dataset
        rng = np.random.default_rng([self.config.seed, round(100 * self.share)])
        classes = len(dataset.class_names)

        def flip(records: Records) -> Records:
            shifts = rng.integers(1, classes, len(records))
            shifts[rng.random(len(records)) >= self.share] = 0
            pairs = zip(records, shifts.tolist(), strict=True)
            return tuple(replace(r, label=(r.label + shift) % classes) for r, shift in pairs)

        return replace(dataset, train=flip(dataset.train), val=flip(dataset.val))


def main() -> None:
    """Train what is missing, then print the tables."""
    print(f"{shlex.join(sys.argv)}: {machine()}\n", flush=True)
    for name, share in product(sys.argv[1:], SHARES):
        changes = {**SHIPPED[name].changes, **SMALL}
        if name == "second":
            changes["backbone.name"] = str(second_checkpoint(STORAGE))
        case = replace(SHIPPED[name], changes=changes)
        values = []
        for seed in SEEDS:
            config = configuration(name, case, STORAGE, seed)
            folder = StudyFolder(config.storage / f"{name}-{share}-{seed}")
            values.append(measure(FlippedStudy(config, folder, share=share)))
        rows = []
        for measured, check, one in zip(
            MEASURES, *np.array(values).transpose(1, 2, 0), strict=True
        ):
            change = format_difference(mean_interval((check - one).tolist()))
            rows.append([measured, percent(check.mean()), percent(one.mean()), change])
        header = ("", "the check, %", "one model, %", "Δ points")
        print(table(f"{case.title}, {share:.0%} flipped", header, rows), flush=True)


def measure(study: FlippedStudy) -> list[list[float]]:
    """Return what the check and one model find; train the trials at first."""
    file = study.folder.path / "validation.parquet"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(search(study), file)
    rows = read_parquet(file.read_bytes())
    scores = np.array(rows["score"])
    dataset = Study(study.config, study.folder).dataset
    names = {r.path: dataset.class_names[r.label] for r in dataset.train + dataset.val}
    values = []
    for least, most in ((np.median(scores), len(rows)), (scores.max(), len(rows) // TRIALS)):
        votes = ensemble_votes(rows.filter(pa.array(scores >= least)).slice(0, most))
        right = [names[path] for path in votes.paths]
        wrong = np.array(votes.class_names)[votes.given] != right
        order, doubted, _ = doubt_labels(votes.probabilities, votes.given)
        n = wrong.sum()
        found = wrong[order].cumsum()[[n - 1, 2 * n - 1]] / n
        values.append([*found, len(doubted) / n, wrong[doubted].mean()])
    return values


def search(study: Study) -> pa.Table:
    """Train a few configurations on the folds, and return what they predict, a row an image."""
    data = Preparer(study, study.architecture.image_size).search()
    backbone = load_backbone(backbone_path(study.config.backbone.name))
    space = make_space(study, "tpe")
    baselines = [*study.config.search.fixed_baselines.values()]
    asked = optuna.create_study(direction="maximize")
    tables = []
    for number in range(TRIALS):
        asked.sampler = tpe(seed_from_text(f"{study.config.seed}/{number}"))
        trial = asked.ask()
        settings = baselines[number] if number < len(baselines) else space.suggest(trial)
        config = make_trial(study, data, "search", Proposal(settings, "search", number))
        *_, last = run_trial(config, data, backbone)
        score = last.metrics["val_score"]
        asked.tell(trial, score)
        rows = read_parquet(validation_to_parquet(last.predictions, data))
        tables.append(rows.append_column("score", pa.array([score] * len(rows))))
    return pa.concat_tables(tables)


if __name__ == "__main__":
    main()
