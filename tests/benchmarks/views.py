"""What fixed views of augmented images cost in accuracy, and what they save in time.

    python tests/benchmarks/views.py                  # 40 seeds; ten minutes
    python tests/benchmarks/views.py --seeds 5 --only accuracy
    python tests/benchmarks/views.py --quick          # tiny: shows that it works, measures nothing

Accuracy: the embedded study with `data.augment`, whose digits should not be mirrored, with 1, 4 and
8 views of each image beside fresh augmentation. All ways have the same seeds, each with its own
shots, and the rate that validation finds best with fresh augmentation, on another seed. Seconds are
CPU seconds of an epoch with everything in it: early epochs compute what later ones find, so they
are the mean of all but the last, which is evaluated.

Step: one at ViT-B/16 shapes with random weights, from the table of images to the changed
parameters: with fresh augmentation, with views that are computed, and with views that are kept.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from paired import machine, medians, table
from trials import shaped

from study.analysis.formatting import difference, interval, probability
from study.analysis.intervals import estimate
from study.analysis.resampling import SEEDS_ALONE
from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.embedded import backbone_path
from study.method.backbone import Backbone, load_backbone
from study.method.training import Schedule
from study.storage.ledger import StudyFolder
from study.trial import TrialConfig, TrialData
from study.trial.prepare import Preparer
from study.trial.run import TaskRun, run_trial
from study.trial.study import Study
from study.trial.views import VIEWS, WHOLE

FRESH = "fresh"
"""The way of augmentation that `data.views` is compared with: other views in each epoch."""
WAYS: Mapping[str, str] = {
    FRESH: "null",
    "1 view": "1",
    "4 views": "4",
    "8 views": "8",
}
"""The values of `data.views`."""
SUBSETS = ("clipfit", "vision.ln[-1:]")
"""What is tuned: from the first stage of the image encoder on, and in the last of its 3 blocks."""
RATES = (0.03, 0.1, 0.3, 1.0)
"""The rates of which validation finds the best."""
DISTILL_WEIGHT = 2.0
OF_STEP = "vision.ln[-4:]"
"""What is tuned at ViT-B/16 shapes: the last 4 of 12 blocks."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=40, help="how many, from 101 on")
    parser.add_argument("--epochs", type=int, help="instead of those of the study")
    parser.add_argument("--rounds", type=int, default=5, help="of the step")
    parser.add_argument("--only", choices=("accuracy", "step"))
    parser.add_argument("--quick", action="store_true", help="tiny settings, to see that it works")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), end="\n\n", flush=True)
    if options.quick:
        print("Tiny settings, to see that it works: nothing below is a measurement.\n")
    quick = ["training.epochs=2", "data.shots=2", "search.folds=2"] if options.quick else []
    given = [*quick, *([f"training.epochs={options.epochs}"] if options.epochs else [])]
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "step":
            seeds = range(101, 101 + (2 if options.quick else options.seeds))
            rates = RATES[1:2] if options.quick else RATES
            print(accuracy(Path(folder), seeds, rates, given), flush=True)
        if options.only != "accuracy":
            rounds = 1 if options.quick else options.rounds
            print(step(Path(folder), rounds, small=options.quick), flush=True)


def accuracy(
    storage: Path, seeds: Sequence[int], rates: Sequence[float], overrides: Sequence[str] = ()
) -> str:
    """Train and test with each seed in each way; give the table."""
    backbone = load_backbone(backbone_path("embedded"))
    scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    best = {subset: best_rate(storage, subset, backbone, rates, overrides) for subset in SUBSETS}
    for seed in seeds:
        for way in WAYS:  # in turn, so that what else the machine does weighs on all alike
            preparer = prepare(storage, way, backbone, overrides)
            data, config = preparer.confirm(seed), preparer.study.config
            for subset in SUBSETS:
                score, spent = train(trial(config, subset, best[subset], seed), data, backbone)
                scores[subset][way][seed] = score
                seconds[subset][way] += spent
    rows = []
    for subset in SUBSETS:
        compared = SEEDS_ALONE.compare(scores[subset], FRESH)
        fresh = statistics.fmean(seconds[subset][FRESH])
        for way, own in scores[subset].items():
            mean = statistics.fmean(seconds[subset][way])
            beside = compared.get(way)
            rows.append(
                [
                    *(f"`{subset}`, rate {best[subset]:g}", way),
                    interval(estimate([*own.values()])),
                    difference(beside.paired) if beside else "–",
                    probability(beside.holm_p) if beside else "–",
                    *(f"{mean:.3f}", f"{fresh / mean:.2f}"),
                ]
            )
    headings = ("tuned", "augmented by", "test %", "Δ fresh", "p", "CPU s an epoch", "fresh / it")
    return table(f"The embedded study, augmented, {len(seeds)} seeds", headings, rows)


def best_rate(
    storage: Path,
    subset: str,
    backbone: Backbone,
    rates: Sequence[float],
    overrides: Sequence[str],
) -> float:
    """Give the rate with the best validation score on the shots of the study's own seed."""
    if len(rates) == 1:
        return rates[0]
    preparer = prepare(storage, FRESH, backbone, overrides)
    data, config = preparer.search(), preparer.study.config
    found = {}
    for rate in rates:
        *_, last = run_trial(trial(config, subset, rate, config.seed), data, backbone)
        found[rate] = last.metrics["val_score"]
    return max(found, key=lambda rate: found[rate])


def step(storage: Path, rounds: int, *, small: bool = False) -> str:
    """Measure steps on ten digits, one of each class, in turn; give the table."""
    backbone = shaped(load_backbone(backbone_path("embedded")), small=small)
    subset = "vision.ln[-1:]" if small else OF_STEP
    runs = {}
    for way in (FRESH, "1 view"):  # of one view each, the second time finds what the first kept
        preparer = prepare(storage, way, backbone, ["data.shots=1"])
        data, config = preparer.confirm(1), preparer.study.config
        runs[way] = TaskRun(trial(config, subset, 0.002, 1), data, backbone, data.tasks[0], 0)
    (images,) = {run.images_per_epoch for run in runs.values()}
    schedule = Schedule(2, 1e-5)

    def computed() -> None:
        VIEWS.clear()
        WHOLE.kept.clear()
        runs["1 view"].train_epoch(schedule, 0)

    ways = {
        "fresh": lambda: runs[FRESH].train_epoch(schedule, 0),
        "views, computed": computed,
        "views, kept": lambda: runs["1 view"].train_epoch(schedule, 0),
    }
    found = medians(ways, rounds)
    rows = [[way, f"{spent:.2f}", f"{found['fresh'] / spent:.2f}"] for way, spent in found.items()]
    title = f"A step of `{subset}` at ViT-B/16 shapes, batch {images}, medians of {rounds}"
    return table(title, ("augmented images", "CPU s a step", "fresh / it"), rows)


def prepare(storage: Path, way: str, backbone: Backbone, overrides: Sequence[str]) -> Preparer:
    """Give what prepares the data of the embedded study, augmented in a way."""
    path = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    own = ["data.augment=true", f"data.views={WAYS[way]}", f"storage={storage}"]
    name = f"{way.replace(' ', '-')}-{backbone.image_size}"
    folder = StudyFolder(storage / name)
    folder.path.mkdir(exist_ok=True)  # a study makes its own, and waits for one that is gone
    return Preparer(Study(load_config(path, [*own, *overrides]), folder), backbone.image_size)


def trial(config: StudyConfig, subset: str, rate: float, seed: int) -> TrialConfig:
    """Give a trial of a study's settings of training."""
    return TrialConfig(
        trial_id="confirm-0000",
        stage="confirm",
        arm="search",
        label="",
        number=0,
        seed=seed,
        subset=subset,
        subset_key="",
        trainable=1,
        bias_lr=rate,
        ln_lr=rate,
        distill_weight=DISTILL_WEIGHT,
        epochs=config.training.epochs,
        split_hash="",
        training=config.training,
    )


def train(config: TrialConfig, data: TrialData, backbone: Backbone) -> tuple[float, list[float]]:
    """Give the test score of a trial, and the CPU seconds of its epochs but the last."""
    seconds, reports = [], run_trial(config, data, backbone)
    while True:
        began = time.process_time()
        report = next(reports)
        if report.done:
            return report.metrics["test_score"], seconds
        seconds.append(time.process_time() - began)


if __name__ == "__main__":
    main()
