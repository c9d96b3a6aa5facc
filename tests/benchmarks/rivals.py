"""What a search is worth beside rivals without one: whole studies, and their tests in a table.

    PYTHONPATH=. python tests/benchmarks/rivals.py --backbone openai/clip-vit-base-patch32 \\
        --images FOLDER --storage runs/rivals --seeds 1 2 3 4 5 --shots 16 4

Each study is `photos` with LoRA beside its baselines, without the published subsets that are not
CLIPFit's, without its limit of time, and with `--settings`. Studies run one after the other, all
numbers of shots of a seed before the next seed. What the storage holds is kept: a finished study is
read and another one resumed, each with the settings it began with.

A score is the mean over the test seeds of a study, which differ between studies. ± and [ ] are 95 %
intervals over the studies alone, which all have the same test images.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from study.config.labels import LINEAR, PUBLISHED, TUNED, ZERO_SHOT
from study.report.formatting import format_difference, format_mean
from study.results.statistics import mean_interval
from study.results.study_result import StudyResult, read_study_result
from study.storage.study_folder import StudyFolder
from study.trial.study import BEST
from tests.benchmarks.measuring import machine, table

RUN = Path(__file__).parents[2] / "study" / "run.py"
TEST_SEEDS = 2
"""The number of test seeds of a study."""
RIVALS = {
    "zero-shot CLIP": ZERO_SHOT,
    "linear classifier": LINEAR,
    "CLAP": "clap",
    "2SFS": "two_stage",
    "ProLIP, rate tuned": "projection",
    "LoRA, rate tuned": "lora",
}
"""The labels of other methods, by what the table calls them."""
SUBSETS = {"CLIPFit as published": PUBLISHED, "CLIPFit, rates tuned": TUNED}
"""The labels of CLIPFit, whose training is tested with both heads."""
SEARCHED = "best of the search"
FINAL = "final model, on shots and validation images"


def main() -> None:
    """Run what is missing, then print a table for each number of shots."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", required=True, help="the checkpoint")
    parser.add_argument("--images", required=True, type=Path, help="a folder of images")
    parser.add_argument("--storage", type=Path, default=Path("runs/rivals"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--shots", type=int, nargs="+", default=[16, 4])
    parser.add_argument("--settings", nargs="*", default=[], metavar="key=value")
    options = parser.parse_args()
    print(machine(), end="\n\n", flush=True)
    for seed in options.seeds:
        for shots in options.shots:
            folder = StudyFolder(options.storage.resolve() / f"shots{shots}-seed{seed}")
            if not (folder.exists() and folder.is_complete()):
                run(folder, seed, shots, options)
    for shots in options.shots:
        places = [options.storage.resolve() / f"shots{shots}-seed{seed}" for seed in options.seeds]
        print(results_table(shots, [read_study_result(place) for place in places]), flush=True)


def run(folder: StudyFolder, seed: int, shots: int, options: argparse.Namespace) -> None:
    """Run a study, or what is left of it."""
    storage = f"storage={folder.path.parent}"
    command = ["resume", folder.name, storage]
    if not folder.exists():
        settings = [
            *(f"name={folder.name}", storage, f"seed={seed}"),
            *(f"backbone.name={options.backbone}", f"data.root={options.images.resolve()}"),
            *(f"data.shots={shots}", f"data.val_shots={min(shots, 4)}"),
            *("search.trials=24", "search.minutes=null"),
            *("search.baselines.bitfit=null", "search.baselines.ln=null"),
            "search.baselines.lora={method: lora}",
            f"test.seeds={[10 * seed + number for number in range(1, 1 + TEST_SEEDS)]}",
        ]
        command = ["run", "photos", *settings, *options.settings]
    subprocess.run([sys.executable, str(RUN), *command], check=True, stdout=subprocess.DEVNULL)
    print(f"{folder.name} has finished", file=sys.stderr, flush=True)


def results_table(shots: int, results: Sequence[StudyResult]) -> str:
    """Return the table of the studies with one number of shots."""
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for result in results:
        for name, score in test_scores(result):
            scores[name][result.config.seed] = score
    best = scores[SEARCHED]
    rows = []
    for name, of_seeds in scores.items():
        cells = [name, format_mean(mean_interval([*of_seeds.values()]))]
        common = of_seeds.keys() & best.keys()
        is_best = name == SEARCHED or not common
        over = [of_seeds[seed] - best[seed] for seed in common]
        cells.append("–" if is_best else format_difference(mean_interval(over)))
        cells.append(" ".join(f"{100 * score:.1f}" for score in of_seeds.values()))
        rows.append(cells)
    seeds = ", ".join(str(result.config.seed) for result in results)
    title = f"{shots} shots, study seeds {seeds}"
    return table(title, ("", "test %", f"Δ {SEARCHED}", "each study"), rows)


def test_scores(result: StudyResult) -> Iterator[tuple[str, float]]:
    """Yield what the table has of a study, with its mean test score, a fraction."""
    for name, label in RIVALS.items():
        if row := result.find_row(label):
            yield name, row.test.mean
    for name, label in SUBSETS.items():
        if row := result.find_row(label):
            for head in ("text", "linear"):
                yield f"{name}, {head} head", row.means[f"score_{head}"].mean
    if row := result.find_row(BEST):
        yield SEARCHED, row.test.mean
    if result.final and result.final.test:
        yield FINAL, result.final.test.mean


if __name__ == "__main__":
    main()
