"""Does the mean margin or the likelihood choose better than accuracy, alone or between equals?

    python tests/benchmarks/answer/criterion.py --only digits second glyphs   # development images

It reads the studies of `shipping.py`. Where a criterion would choose another trial than accuracy
does, that trial is trained on the shots of both seeds of its study, and tested. The score of a
choice is the mean of the two. The unit is a whole study: t over studies within a case, and the mean
of cases with equal weights.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import torch

from study.backbones.description import backbone_path
from study.backbones.load_backbone import load_backbone
from study.config.schema import StudyConfig
from study.results.intervals import mean_interval
from study.search.make_trial import make_trial
from study.search.searcher import Proposal
from study.selection.ranking import Judged, rank_finished_trials
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from study.workflow.frozen_configuration import frozen_config
from tests.benchmarks.answer.shipping import SHIPPED, case_configuration
from tests.benchmarks.measuring import machine, table

Key = Callable[[Judged], tuple[float, ...]]


def _margin(trial: Judged) -> float:
    return -trial.report["val_margin"]


def _likelihood(trial: Judged) -> float:
    return float(trial.report["val_nll_scaled"])


CRITERIA: dict[str, Key] = {
    "accuracy, of equal ones the margin": lambda trial: (-trial.val_score, _margin(trial)),
    "accuracy, of equal ones the likelihood": lambda trial: (-trial.val_score, _likelihood(trial)),
    "mean margin": lambda trial: (_margin(trial),),
    "likelihood with temperature": lambda trial: (_likelihood(trial),),
}
"""The keys by which the best trial comes first."""


def main() -> None:
    """Train and test what the criteria choose, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*SHIPPED], default=[*SHIPPED])
    parser.add_argument("--seeds", nargs="+", type=int, default=[*range(201, 211)])
    parser.add_argument("--storage", type=Path, default=Path("runs/shipping"))
    parser.add_argument("--processes", type=int, default=2, help="studies at a time")
    options = parser.parse_args()
    print(f"{shlex.join(sys.argv)}: {machine()}\n", flush=True)
    studies = []
    for name in options.only:
        for seed in options.seeds:
            studies.append(case_configuration(name, options.storage.resolve(), seed))
    with get_context("spawn").Pool(options.processes) as pool:
        found = pool.map(gains, studies, chunksize=1)
    rows = []
    for criterion in CRITERIA:
        by_case: dict[str, list[float]] = defaultdict(list)
        for config, gain in zip(studies, found, strict=True):
            by_case[str(config.name).rpartition("-")[0]].append(100 * gain[criterion])
        row = [criterion]
        means, reaches, others = [], [], 0
        for values in by_case.values():
            interval = mean_interval(values)
            means.append(interval.mean)
            reaches.append(interval.half_width or 0.0)
            others += sum(value != 0 for value in values)
            row.append(f"{interval.mean:+.2f} ± {interval.half_width or 0.0:.2f}")
        row.append(f"{fmean(means):+.2f} ± {math.hypot(*reaches) / len(reaches):.2f}")
        row.append(f"{others} of {len(studies)}")
        rows.append(row)
    header = ("points against accuracy", *options.only, "mean of cases", "another score")
    print(table("Chosen by another criterion, mean of two tests", header, rows))


def gains(config: StudyConfig) -> dict[str, float]:
    """Return what each criterion gains over accuracy in a study, as fractions."""
    folder = StudyFolder(config.storage / str(config.name))
    study = Study(frozen_config(folder), folder)
    judged = [trial for trial in rank_finished_trials(folder) if "val_margin" in trial.report]
    base = test_score(study, judged[0])
    found = {}
    for name, key in CRITERIA.items():
        chosen = min(judged, key=lambda trial: (*key(trial), *trial.sort_key))
        found[name] = test_score(study, chosen) - base
    return found


def test_score(study: Study, chosen: Judged) -> float:
    """Return the mean test score of a trial's settings over the seeds; train them at first."""
    kept = study.folder.path / f"criterion-{chosen.config.trial_id}.json"
    if not kept.exists():
        torch.set_num_threads(1)  # two studies at a time
        backbone = load_backbone(backbone_path(study.config.backbone.name))
        preparer = Preparer(study, study.architecture().image_size)
        scores = []
        for seed in study.config.confirm.seeds:
            data = preparer.confirm(seed)
            proposal = Proposal(chosen.settings, "criterion", 0)
            trial = make_trial(study, data, "confirm", proposal, label="criterion", seed=seed)
            (*_, report) = run_trial(trial, data, backbone)
            scores.append(report.metrics["test_score"])
        kept.write_text(json.dumps(scores))
    return fmean(json.loads(kept.read_text()))


if __name__ == "__main__":
    main()
