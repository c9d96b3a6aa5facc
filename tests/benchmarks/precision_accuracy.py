"""Whether bfloat16 costs accuracy: whole trainings in float32 and in bfloat16, seed by seed.

    python tests/benchmarks/precision_accuracy.py              # both embedded studies, 10 seeds
    python tests/benchmarks/precision_accuracy.py --seeds 2

Each seed has its own shots. CLIPFit's subset is tuned at the rate that validation finds best in
float32, and so is every bias of both encoders. bfloat16 is not inferior if the lower
bound of the paired 95 % interval is above −0.5 points.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from paired import machine, table

from study.backbones.load_backbone import load_backbone
from study.config.loading import load_config
from study.config.trial_settings import TrialSettings
from study.embedded import backbone_path
from study.method.precision import cast_matrices
from study.method.recipe import Precision
from study.report.formatting import format_difference, format_mean
from study.results.intervals import mean_interval
from study.results.resampling import Resampled
from study.search.searcher import Proposal
from study.search.stages import make_trial
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study

STUDIES = ("quickstart", "base_to_new")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
SUBSETS = ("clipfit", "bitfit")
RATES = (0.002, 0.01, 0.03, 0.1, 0.3)
MARGIN = 0.005
DISTILL_WEIGHT = 2.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), end="\n\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(accuracy(Path(folder), range(101, 101 + options.seeds)))


def accuracy(storage: Path, seeds: Sequence[int], rates: Sequence[float] = RATES) -> str:
    """Train and test with each seed in each precision; give the table."""
    rows = []
    backbones = {precision: load_backbone(backbone_path("embedded")) for precision in PRECISIONS}
    for precision, backbone in backbones.items():
        cast_matrices(backbone.clip, precision)
    for name in STUDIES:
        folder = StudyFolder(storage / name)
        folder.path.mkdir()  # a study makes its own, and waits for one that is gone
        path = Path(__file__).parents[2] / "configs" / f"{name}.yaml"
        study = Study(load_config(path, [f"storage={storage}"]), folder)
        preparer = Preparer(study, backbones["float32"].image_size)
        search, config = preparer.search(), study.config
        best = {}
        for subset in SUBSETS:
            found = {}
            for rate in rates:
                proposal = Proposal(settings_of(subset, rate), "search", 0)
                tried = make_trial(study, search, "search", proposal)
                *_, last = run_trial(tried, search, backbones["float32"])
                found[rate] = last.metrics["val_score"]
            best[subset] = max(found, key=lambda rate: found[rate])
        scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        for seed in seeds:
            data = preparer.confirm(seed)
            for subset in SUBSETS:
                proposal = Proposal(settings_of(subset, best[subset]), "search", 0)
                for precision in PRECISIONS:
                    training = config.training.model_copy(update={"precision": precision})
                    own = Study(config.model_copy(update={"training": training}), folder)
                    tried = make_trial(own, data, "confirm", proposal, label="", seed=seed)
                    *_, last = run_trial(tried, data, backbones[precision])
                    scores[subset][precision][seed] = last.metrics["test_score"]
        for subset, by_precision in scores.items():
            paired = Resampled({}, {}).compare(by_precision, "float32")["bfloat16"].paired
            rows.append(
                [
                    *(name, f"`{subset}`, rate {best[subset]:g}"),
                    *(format_mean(mean_interval([*by_precision[p].values()])) for p in PRECISIONS),
                    format_difference(paired),
                    "yes" if (paired.difference.low or -1.0) > -MARGIN else "no",
                ]
            )
    headings = ("study", "tuned", "float32, test %", "bfloat16", "Δ", "not inferior")
    return table(f"Accuracy, {len(seeds)} seeds", headings, rows)


def settings_of(subset: str, rate: float) -> TrialSettings:
    """Return the settings that tune a subset at one rate."""
    rates = {"bias": rate, "ln": rate}
    return TrialSettings(subset=subset, rates=rates, distill_weight=DISTILL_WEIGHT)


if __name__ == "__main__":
    main()
