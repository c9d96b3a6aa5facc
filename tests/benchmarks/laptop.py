"""How long a study of one's own photographs takes on a laptop of four cores, and its memory.

    python tests/benchmarks/laptop.py

Steps and evaluations are measured here, by one thread, at the shapes of ViT-B/32 and ViT-B/16 with
random weights. How many of them the configuration `photos` makes is counted by what
`clipfit-study run photos data.root=FOLDER --check --estimate` counts it by. The folder has 40
images of each class, of which only the names are read.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from paired import machine, table
from ways import Measured, measure_apart

from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.shipped import shipped_file
from study.search.driver import decisions
from study.storage.ledger import StudyFolder
from study.trial.cost import Cost
from study.trial.study import Study
from study.workflow.estimate import Estimate, expected

BACKBONES = {"ViT-B/32": 32, "ViT-B/16": 16}
"""The side of a patch, in pixels."""
PRECISIONS = {"float32": "float32", "bfloat16 held": "held"}
CLASSES, SHOTS = (10, 100), (4, 16)
IMAGES = 40
"""Of each class: 20 to train on, 8 to validate with and 12 for the test."""
SLOTS = 4
LARGE = 32
"""The batch of steps that are measured beside those of the configuration."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to see that it works")
    parser.add_argument("--only", nargs="+", default=[*BACKBONES], choices=[*BACKBONES])
    parser.add_argument("--classes", type=int, nargs="+", default=[*CLASSES])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), end="\n\n", flush=True)
    for text in studies(options.only, options.classes, small=options.quick):
        print(text, flush=True)


def studies(
    backbones: list[str] | None = None, classes: list[int] | None = None, *, small: bool = False
) -> Iterator[str]:
    """Measure each shape once, and yield the table and what is counted in it.

    Args:
        backbones: of `BACKBONES`; None means all.
        classes: how many, rows each; None means `CLASSES`.
        small: whether the shapes are for seeing that this works, not for measuring.
    """
    rows = []
    for backbone in backbones or BACKBONES:
        for precision, way in PRECISIONS.items():
            for count in classes or CLASSES:
                shape = (way, count, 16 if small else BACKBONES[backbone], small)
                own, large = (measure_apart(batch, *shape) for batch in (_photos().batch, LARGE))
                for shots in SHOTS:
                    times = [f"{one:.2f}" for one in (own.step, large.step)]
                    rows.append(
                        [
                            *(backbone, precision, str(count), str(shots), *times),
                            *(f"{1000 * own.image:.0f}", *_hours(count, shots, own)),
                            *(f"{one.memory:.2f}" for one in (own, large)),
                        ]
                    )
    batch = _photos().batch
    headings = (
        *("backbone", "precision", "classes", "shots"),
        *(f"step of {size} images, s" for size in (batch, LARGE)),
        *("evaluation of an image, ms", "search of all trials, h", "search as shipped, h"),
        *("test, h", "study as shipped, h"),
        *(f"peak at batch {size}, GiB" for size in (batch, LARGE)),
    )
    yield table(f"`photos` on a laptop of {SLOTS} cores, {SLOTS} trials at once", headings, rows)
    yield _photos().assumptions()


@dataclass(frozen=True)
class Photos:
    """The configuration `photos`, and what it says about a study's time."""

    config: StudyConfig

    @property
    def batch(self) -> int:
        """The number of images of a step."""
        return self.config.training.batch_size

    @property
    def minutes(self) -> float:
        """The minutes that the search may take."""
        return self.config.search.minutes or 0.0

    def assumptions(self) -> str:
        """Return in words what is counted, and what is assumed about early stopping."""
        search, epochs = self.config.search, self.config.training.epochs
        asha, rungs = search.asha, decisions(search.asha, epochs)
        stops = " and ".join(map(str, rungs))
        share = f"1 of {asha.reduction_factor:g} goes on" if asha else "all go on"
        lines = [
            f"Counted: {search.folds} folds a trial, trained one after another; {epochs} epochs; "
            f"batches of {self.batch}, an incomplete last one dropped; an evaluation of every "
            "fold's validation images after each epoch; steps of CLIPFit for all trials.",
            f"Early stopping: the {search.planned - len(search.fixed)} proposed trials may stop "
            f"after epochs {stops}, where {share}. Baselines never stop, nor do the trials after "
            "the search, which give each of them and the best proposal each head.",
            f"As shipped, the search proposes nothing more after {self.minutes:g} minutes; "
            "baselines and the trials after the search are trained in any case.",
            f"Test: {len(self.config.confirm.seeds)} seeds of each candidate, for which all epochs "
            f"are trained and the test is read once. Each class has {IMAGES} images: 20 to train "
            "on, of which the shots are drawn, 8 to validate with and 12 for the test.",
            "Not counted: that trials share the memory's bandwidth, decoding images, crops, the "
            "start of processes, linear heads, text features of evaluations, the report. The peak "
            "is that of one trial: weights and what a step adds, without Python and its libraries "
            f"(about 0.5 GiB). {SLOTS} trials at once need {SLOTS} times as much.",
        ]
        return "".join(f"- {line}\n" for line in lines)


def _photos(*overrides: str) -> Photos:
    file = shipped_file("photos")
    assert file is not None
    return Photos(load_config(file, [*(overrides or ["data.root=photos"])]))


def _hours(classes: int, shots: int, cost: Measured) -> list[str]:
    """Return the hours of a search of all trials and of the limited one, of the test, and of both.

    The latter is the study as it is shipped.
    """
    found: list[Estimate] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "photos"
        for number in range(classes):
            place = root / f"class {number:03d}"
            place.mkdir(parents=True)
            for image in range(IMAGES):
                (place / f"{image:03d}.jpg").touch()
        for limit in ("search.minutes=null", None):
            values = [f"data.root={root}", f"data.shots={shots}", f"storage={folder}"]
            config = _photos(*values, *([limit] if limit else [])).config
            study = Study(config, StudyFolder(Path(folder) / "study"))
            spent = Cost(cost.step, cost.image, 0)
            found.append(expected(study, spent, SLOTS))
    every, shipped = found
    searches = (every.search + every.variants, shipped.search + shipped.variants)
    hours = (*searches, shipped.test, shipped.total)
    return [f"{seconds / 3600:.2f}" for seconds in hours]


if __name__ == "__main__":
    main()
