"""What cross-fitting changes: the trials of a finished search by both scores of their heads.

    python tests/benchmarks/head_choice.py runs/STUDY

Each trial whose head validation chose is trained once more in this process. It is scored on the
folds that chose the training of its head, as earlier versions did, and by cross-fitting. The first
table has these trials, the second the best three of the search by either score.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from paired import machine, table

from study.analysis.formatting import percent, points, settings_in_words
from study.config.frozen import load_frozen
from study.embedded import backbone_path
from study.method.backbone import Backbone, load_backbone
from study.selection.candidates import Judged, finished_trials
from study.storage.ledger import StudyFolder
from study.trial import TrialData, run
from study.trial.cross_fitting import HeadChoice, choose_head
from study.trial.evaluation import Evaluation, scores
from study.trial.prepare import Preparer
from study.trial.study import Study


@dataclass(frozen=True)
class Scored:
    """A finished trial with both of its scores, as fractions."""

    judged: Judged
    same_folds: float
    """The score on the folds that chose the training of its head."""
    cross_fitted: float
    """The score by cross-fitting."""

    @property
    def name(self) -> str:
        """The trial's number and what it trains."""
        return f"{self.judged.config.trial_id}: {settings_in_words(self.judged.config.settings)}"


def main() -> None:
    """Train, and print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    folder = StudyFolder(parser.parse_args().study.resolve())
    torch.set_num_threads(1)
    study = Study(load_frozen(folder.config_path), folder).in_precision()
    config = study.config.backbone
    backbone = load_backbone(backbone_path(config.name), revision=config.revision)
    data = Preparer(study, study.architecture().image_size).search()
    trials = [scored(judged, data, backbone) for judged in finished_trials(folder)]
    print(machine(), end="\n\n")
    print(of_heads([one for one in trials if chooses(one.judged)]))
    print(best_of(trials))


def chooses(judged: Judged) -> bool:
    """Return whether validation chose the training of a trial's head."""
    settings = judged.config.settings
    return settings.head == "linear" and settings.head_lr is None


def scored(judged: Judged, data: TrialData, backbone: Backbone) -> Scored:
    """Return both scores of a trial; that of a trial without a choice stays as it is."""
    if not chooses(judged):
        return Scored(judged, judged.val_score, judged.val_score)
    choices: list[HeadChoice] = []
    with watched(choices):
        *_, report = run.run_trial(judged.config, data, backbone)
    shipped = scores(choices[-1].shipped, data)
    return Scored(judged, shipped["score"], report.metrics["val_score"])


@contextmanager
def watched(choices: list[HeadChoice]) -> Iterator[None]:
    """Keep each choice of a head that a trial of this process makes."""

    def choose(evaluated: Sequence[Sequence[Evaluation]], data: TrialData) -> HeadChoice:
        choices.append(choose_head(evaluated, data))
        return choices[-1]

    run.choose_head = choose
    try:
        yield
    finally:
        run.choose_head = choose_head


def of_heads(trials: Sequence[Scored]) -> str:
    """Return the table of the trials whose head was chosen."""
    rows = []
    for one in trials:
        gain = one.same_folds - one.cross_fitted
        rows.append([one.name, percent(one.same_folds), percent(one.cross_fitted), points(gain)])
    if trials:
        gain = fmean(one.same_folds - one.cross_fitted for one in trials)
        rows.append([f"mean of {len(trials)}", "", "", points(gain)])
    headings = ("trial", "same folds %", "cross-fitted %", "by choice alone, points")
    return table("Trials whose head validation chose", headings, rows)


def best_of(trials: Sequence[Scored]) -> str:
    """Return the table of the best three trials by either score."""
    before = sorted(trials, key=lambda one: (-one.same_folds, *one.judged.rank[1:]))
    after = sorted(trials, key=lambda one: (-one.cross_fitted, *one.judged.rank[1:]))
    rows = []
    for place, (one, other) in enumerate(zip(before[:3], after[:3], strict=True), start=1):
        rows.append(
            [
                str(place),
                f"{one.name} ({percent(one.same_folds)})",
                f"{other.name} ({percent(other.cross_fitted)})",
            ]
        )
    return table("The best of the search", ("place", "same folds", "cross-fitted"), rows)


if __name__ == "__main__":
    main()
