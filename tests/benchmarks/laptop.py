"""How long a study of one's own photographs takes on a laptop of four cores, and its memory.

    python tests/benchmarks/run.py laptop

Steps and evaluations are measured here, by one thread, at the shapes of ViT-B/32 and ViT-B/16 with
random weights. How many of them the configuration `photos` makes is counted by what
`clipfit-study run photos data.root=FOLDER --check --estimate` counts it by. The folder has 40
images of each class, of which only the names are read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from paired import table
from ways import Measured, measure_apart

from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.shipped import shipped_file
from study.search.driver import rung_epochs
from study.storage.study_folder import StudyFolder
from study.trial.cost import Cost
from study.trial.study import Study
from study.workflow.estimate import estimate_from_cost

BACKBONES = {"ViT-B/32": 32, "ViT-B/16": 16}
"""The side of a patch, in pixels."""
PRECISIONS = {"float32": "float32", "bfloat16 held": "held"}
CLASSES, SHOTS = (10, 100), (4, 16)
IMAGES = 40
"""Of each class: 20 to train on, 8 to validate with and 12 for the test."""
SLOTS = 4


def studies(*, small: bool = False) -> Iterator[str]:
    """Measure each shape once, and yield the table and what is counted in it.

    Args:
        small: whether the shapes are for seeing that this works, not for measuring.
    """
    photos = _photos("data.root=photos")
    batch = photos.training.batch_size
    rows = []
    for backbone, patch in BACKBONES.items():
        for precision, way in PRECISIONS.items():
            for classes in CLASSES:
                found = measure_apart(batch, way, classes, 16 if small else patch, small)
                for shots in SHOTS:
                    rows.append(
                        [
                            *(backbone, precision, str(classes), str(shots)),
                            *(f"{found.step:.2f}", f"{1000 * found.image:.0f}"),
                            *_hours(classes, shots, found),
                            f"{found.memory:.2f}",
                        ]
                    )
    headings = (
        *("backbone", "precision", "classes", "shots", f"step of {batch} images, s"),
        *("evaluation of an image, ms", "search, h", "test, h", "study, h", "peak, GiB"),
    )
    yield table(f"`photos` on a laptop of {SLOTS} cores, {SLOTS} trials at once", headings, rows)
    yield assumptions(photos)


def assumptions(photos: StudyConfig) -> str:
    """Return in words what is counted, and what is assumed about early stopping."""
    search, epochs = photos.search, photos.training.epochs
    asha, rungs = search.asha, rung_epochs(search.asha, epochs)
    stops = " and ".join(map(str, rungs))
    share = f"1 of {asha.reduction_factor:g} goes on" if asha else "all go on"
    lines = [
        f"Counted: {search.folds} folds a trial, trained one after another; {epochs} epochs; "
        f"batches of {photos.training.batch_size}, an incomplete last one dropped; an evaluation "
        "of every fold's validation images after each epoch; steps of CLIPFit for all trials.",
        f"Early stopping: the {search.planned_trials - len(search.fixed_baselines)} proposed "
        f"trials may stop after epochs {stops}, where {share}. Baselines never stop, nor do the "
        "trials after "
        "the search, which give each of them and the best proposal each head.",
        f"The search proposes nothing more after {search.minutes or 0:g} minutes; "
        "baselines and the trials after the search are trained in any case.",
        f"Test: {len(photos.confirm.seeds)} seeds of each candidate, for which all epochs "
        f"are trained and the test is read once. Each class has {IMAGES} images: 20 to train "
        "on, of which the shots are drawn, 8 to validate with and 12 for the test.",
        "Not counted: that trials share the memory's bandwidth, decoding images, crops, the "
        "start of processes, linear heads, text features of evaluations, the report. The peak "
        "is that of one trial: weights and what a step adds, without Python and its libraries "
        f"(about 0.5 GiB). {SLOTS} trials at once need {SLOTS} times as much.",
    ]
    return "".join(f"- {line}\n" for line in lines)


def _photos(*overrides: str) -> StudyConfig:
    file = shipped_file("photos")
    assert file is not None
    return load_config(file, [*overrides])


def _hours(classes: int, shots: int, cost: Measured) -> list[str]:
    """Return the hours of the search and what comes after it, of the test, and of both."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "photos"
        for number in range(classes):
            place = root / f"class {number:03d}"
            place.mkdir(parents=True)
            for image in range(IMAGES):
                (place / f"{image:03d}.jpg").touch()
        config = _photos(f"data.root={root}", f"data.shots={shots}", f"storage={folder}")
        study = Study(config, StudyFolder(Path(folder) / "study"))
        found = estimate_from_cost(study, Cost(cost.step, cost.image, 0), SLOTS)
    hours = (found.search + found.variants, found.test, found.total)
    return [f"{seconds / 3600:.2f}" for seconds in hours]
