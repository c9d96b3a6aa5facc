"""Is what ships better when it is an average, trained on validation images too?

    python tests/benchmarks/answer/shipping.py --only digits glyphs second   # development images
    python tests/benchmarks/answer/shipping.py --only handwriting fonts      # images of the claim

What becomes the default is decided on the development images, and written down. Then the images of
the claim are looked at once. The unit is a whole study of 32 trials, with its own shots, folds and
choice. Each ships the winner's first test, and is refitted twice: its average and its winner alone,
on shots and validation images. It goes on where it was.

A difference within a case is over studies and its test images together. Over cases it is the mean
with equal weights, and its error that of independent cases.
"""

from __future__ import annotations

import argparse
import math
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from statistics import fmean

from scipy import special

from study.config.schema import StudyConfig
from study.report.formatting import format_difference, probability
from study.results.intervals import CONFIDENCE, MeanInterval, mean_interval
from study.results.leaderboard import Leaderboard, leaderboard
from study.results.refit import refit_of
from study.results.reliability import calibrations
from study.results.resampling import resample
from study.results.statistics import adjust_by_holm
from study.results.study_results import Results, read_results
from study.results.trial_results import TrialResult
from study.trial.study import BEST
from tests.benchmarks.answer.answer import RUN, finished, run
from tests.benchmarks.answer.cases import CASES, Case, configuration
from tests.benchmarks.measuring import machine, table

ASKED = {"refit.images": "labelled", "refit.average": "3", "refit.calibrate": "true"}
DIGITS, LETTERS = CASES["digits"], CASES["letters"]
SHIPPED: Mapping[str, Case] = {
    "digits": replace(DIGITS, title="digits (development)", images=None),
    "glyphs": replace(LETTERS, title="glyphs, base_to_new (development)", images=None),
    "second": replace(DIGITS, title="digits, a second checkpoint (development)", images=None),
    "handwriting": replace(DIGITS, title="handwriting of another collection (claim)"),
    "fonts": replace(LETTERS, title="characters in other fonts, base_to_new (claim)"),
}
"""The cases; the first three are of images that choices of this project have seen."""
PAIRS = {
    "refitted average − winner": ("refitted average", "winner"),
    "average − winner, both on the shots": ("average", "winner"),
    "refitted winner − winner": ("refitted winner", "winner"),
}
"""The comparisons that were fixed beforehand, of which the first is the primary one."""


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SHIPPED, default=SHIPPED)
    parser.add_argument("--seeds", nargs="+", type=int, default=range(201, 211))
    parser.add_argument("--storage", type=Path, default=Path("runs/shipping"))
    options = parser.parse_args()
    storage = options.storage.resolve()
    storage.mkdir(parents=True, exist_ok=True)
    print(f"{shlex.join(sys.argv)}: {machine()}\n", flush=True)
    differences = defaultdict(list)
    for name in options.only:
        configs = [case_configuration(name, storage, seed) for seed in options.seeds]
        with ThreadPool(2) as pool:  # two studies at a time
            pool.map(run_and_refit, configs, chunksize=1)
        found = case_differences([read_tested(config) for config in configs], configs)
        print(case_table(SHIPPED[name].title, found))
        print(probability_table(configs))
        for pair, difference in found.items():
            differences[pair].append(difference)
    print(pooled_table(differences))


def case_configuration(name: str, storage: Path, seed: int) -> StudyConfig:
    """Return the configuration of one study of a case."""
    changes = {**SHIPPED[name].changes, **ASKED}
    if name == "second":
        changes["backbone.name"] = str(second_checkpoint(storage))
    return configuration(name, replace(SHIPPED[name], changes=changes), storage, seed)


def second_checkpoint(storage: Path) -> Path:
    """Return a checkpoint of the embedded one's recipe with another seed; make it at first."""
    folder = storage / "second-checkpoint"
    if not folder.exists():
        command = [sys.executable, "-m", "tests.embedded", "--out", str(folder), "--seed", "2"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def run_and_refit(config: StudyConfig) -> None:
    """Run a study, then refit its winner alone; either only if it is missing."""
    study = config.storage / str(config.name)
    alone = with_average(config, 1)
    if not (study / "refits.json").exists():
        if not finished(config):
            run(config)
        command = [sys.executable, str(RUN), "refit", study.name, f"storage={config.storage}"]
        command += ["refit.average=1", "refit.calibrate=false"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    elif not finished(alone):
        run(alone)


def read_tested(config: StudyConfig) -> dict[str, TrialResult]:
    """Return the test of what a study may ship, by name."""
    board = leaderboard(read_results(config.storage / str(config.name)))
    tested = {"winner": _confirmed(board, BEST, config.seed)}
    tested["average"] = _confirmed(board, "average", config.seed)
    for name, average in (("refitted average", 3), ("refitted winner", 1)):
        found = refit_of(with_refit(board, average=average))
        tested[name] = found.trial if found is not None else None
    # Where no two trainings can be averaged, or a winner trains nothing, that ships as it is.
    for name, alone in (
        ("average", "winner"),
        ("refitted winner", "winner"),
        ("refitted average", "refitted winner"),
    ):
        tested[name] = tested[name] or tested[alone]
    return {name: trial for name, trial in tested.items() if trial is not None}


def with_refit(results: Results, *, average: int) -> Results:
    """Return the results of a study as if it had asked for this average last."""
    config = with_average(results.study.config, average)
    return replace(results, study=replace(results.study, config=config))


def with_average(config: StudyConfig, average: int) -> StudyConfig:
    """Return a configuration with another average; a single model has no temperature."""
    changes = {"average": average, "calibrate": average > 1}
    return config.model_copy(update={"refit": config.refit.model_copy(update=changes)})


def _confirmed(board: Leaderboard, label: str, seed: int) -> TrialResult | None:
    """Return the test of a candidate on the images of the study's own seed."""
    entry = board.find_entry(label)
    for trial in board.confirm_trials(entry.label if entry else label):
        if trial.seed == seed and trial.test_score is not None:
            return trial
    return None


def case_differences(
    studies: Sequence[Mapping[str, TrialResult]], configs: Sequence[StudyConfig]
) -> dict[str, MeanInterval]:
    """Return the differences of a case, over studies and its test images together."""
    relabelled = []
    for config, tested in zip(configs, studies, strict=True):
        for name, trial in tested.items():
            relabelled.append(trial.model_copy(update={"label": name, "seed": config.seed}))
    protocol = read_results(configs[0].storage / str(configs[0].name)).protocol
    resampled = resample(relabelled, protocol)
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for trial in relabelled:
        scores[trial.label][trial.seed] = trial.test_score or 0.0
    differences = {}
    for pair, (name, base) in PAIRS.items():
        difference = resampled.difference(name, scores[name], base, scores[base])
        assert difference is not None
        differences[pair] = difference
    return differences


def case_table(title: str, found: Mapping[str, MeanInterval]) -> str:
    """Return the differences of a case in points."""
    rows = []
    for pair, difference in found.items():
        rows.append([pair, format_difference(difference), probability(difference.p_value)])
    return table(title, ("", "Δ", "p"), rows)


def probability_table(configs: Sequence[StudyConfig]) -> str:
    """Return the means over studies of likelihoods and calibration errors, and what changes."""
    values = defaultdict(list)
    for config in configs:
        results = with_refit(read_results(config.storage / str(config.name)), average=3)
        refit = refit_of(results)
        for one in calibrations(results, refit.trial.trial_id) if refit else ():
            values[one.part, "NLL"].append((one.before.likelihood, one.after.likelihood))
            values[one.part, "ECE"].append((one.before.error, one.after.error))
    rows = []
    for (part, name), pairs in values.items():
        before, after = zip(*pairs, strict=True)
        change = mean_interval([b - a for a, b in pairs])
        cells = [f"{fmean(before):.3f}", f"{fmean(after):.3f}"]
        cells.append(f"{change.mean:+.3f} ± {change.half_width or 0.0:.3f}")
        rows.append([f"{name}, {part}", *cells, str(len(pairs))])
    header = ("refitted average", "without", "with temperature", "change ± 95 %", "studies")
    return table("Probabilities on test", header, rows)


def pooled_table(differences: Mapping[str, Sequence[MeanInterval]]) -> str:
    """Return the means over cases with equal weights, with Holm's correction."""
    normal = float(special.ndtri((1 + CONFIDENCE) / 2))
    rows, p_values = [], []
    for pair, of_cases in differences.items():
        mean = fmean(one.mean for one in of_cases)
        reach = math.hypot(*(one.reach or 0.0 for one in of_cases)) / len(of_cases)
        p_values.append(float(2 * special.ndtr(-abs(mean) * normal / reach)))
        rows.append([pair, f"{100 * mean:+.2f} ± {100 * reach:.2f}"])
    for row, p in zip(rows, adjust_by_holm(p_values), strict=True):
        row.append(probability(p))
    return table("Mean of cases, points", ("", "Δ ± 95 %", "Holm p"), rows)


if __name__ == "__main__":
    main()
