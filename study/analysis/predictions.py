"""Two candidates image by image: what one gets right and the other wrong, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from statistics import fmean

from study.analysis.comparison import PUBLISHED, TUNED, Leaderboard
from study.analysis.formatting import NAMES, interval, percent, points, spelt
from study.analysis.results import Results
from study.analysis.statistics import bootstrap
from study.analysis.tables import Table
from study.errors import DataError
from study.trial.predictions import read_predictions


@dataclass(frozen=True)
class ComparedImage:
    """One test image, as two candidates predict it over the seeds that both have."""

    part: str
    """The part of the test images: "accuracy" (all classes), "base", "new" or a transfer target."""
    label: str
    """The name of its class."""
    path: str
    """Its path in its dataset."""
    one: float
    """The share of the seeds in which the first candidate is right."""
    other: float
    """The share of the seeds in which the second candidate is right."""

    @property
    def gain(self) -> float:
        """The share of the first less that of the second."""
        return self.one - self.other


def compared_images(results: Results, one: str, other: str) -> list[ComparedImage]:
    """Return all test images as two candidates predict them, by part, class and path.

    Args:
        results: the results of the study.
        one: the label of the first candidate, or cell of an ablation.
        other: the label of the second.

    Raises:
        DataError: they have no seed in common with predictions on test.
        LedgerError: a file of predictions is damaged.
    """
    first, second = (_right_by_seed(results, label) for label in (one, other))
    seeds = first.keys() & second.keys()
    if not seeds:
        tested = dict.fromkeys(t.label for t in results.trials if t.stage != "search")
        raise DataError(
            f"the predictions of '{one}' and '{other}' on test have no seed in common; "
            f"tested: {', '.join(tested) or 'nothing'}"
        )
    return [
        ComparedImage(*image, *(fmean(of[seed][image] for seed in seeds) for of in (first, second)))
        for image in sorted(first[min(seeds)])
    ]


def diff(results: Results, one: str, other: str) -> list[ComparedImage]:
    """Return the images that one candidate gets right and the other wrong, by part and class.

    Over several seeds, one is right more often. Arguments and errors: see `compared_images`.
    """
    return [image for image in compared_images(results, one, other) if image.gain]


def diff_table(results: Results, one: str, other: str) -> Table:
    """Return how many images of each class either candidate alone gets right.

    Its note has the accuracies of both. Arguments and errors: see `compared_images`.
    """
    images = compared_images(results, one, other)
    rows = [
        [
            *(found[0].label, found[0].part, len(found)),
            *(sum(image.gain > 0 for image in found), sum(image.gain < 0 for image in found)),
            points(fmean(image.gain for image in found)),
        ]
        for found in _grouped(images, "part", "label")
    ]
    header = ["class", "part", "images", f"{one} alone", f"{other} alone", "Δ"]
    notes = (_accuracies(found, one, other) for found in _grouped(images, "part"))
    note = " ".join(["Intervals are over test images, by bootstrap.", *notes])
    return Table(f"{one} against {other}", header, rows, left=2, note=note)


def image_findings(results: Results, board: Leaderboard) -> tuple[str, ...]:
    """Return sentences on how the winner would compare with baselines on other test images.

    Returns:
        The sentences; none without a winner, or in a study that kept no predictions.
    """
    winner, found = board.winner, []
    if winner is None:
        return ()
    entries = {baseline: board.entry(baseline) for baseline in (PUBLISHED, TUNED)}
    others = {e.label: baseline for baseline, e in entries.items() if e and e is not winner}
    for label, baseline in others.items():
        with suppress(DataError):  # earlier studies kept no predictions
            images = compared_images(results, winner.label, label)
            gains = (
                f"{part[0].part} {spelt(bootstrap([image.gain for image in part]))}"
                for part in _grouped(images, "part")
            )
            among = f"Against {NAMES[baseline]}, over other test images (bootstrap)"
            found.append(f"{among}: {'; '.join(gains)}.")
    return tuple(found)


def _right_by_seed(results: Results, label: str) -> dict[int, dict[tuple[str, str, str], bool]]:
    """Return whether a candidate is right, by seed, part, class and path."""
    same = {c.label: c.same_as for c in results.candidates if c.same_as}
    kept = {
        trial.seed: read_predictions(results.folder, trial.trial_id)
        for trial in results.trials
        if trial.stage != "search" and trial.label == same.get(label, label)
    }
    return {
        seed: {(p.part, p.label, p.path): p.label == p.predicted for p in predictions}
        for seed, predictions in kept.items()
        if predictions
    }


def _grouped(images: Iterable[ComparedImage], *by: str) -> Iterator[list[ComparedImage]]:
    return (list(group) for _, group in groupby(images, attrgetter(*by)))


def _accuracies(images: list[ComparedImage], one: str, other: str) -> str:
    """Return the accuracies on one part: over its images, and as the mean over its classes."""
    sides = (
        f"“{label}” {interval(bootstrap([of(image) for image in images]))} % "
        f"({percent(fmean(fmean(map(of, found)) for found in _grouped(images, 'label')))} % as the "
        "mean over classes)"
        for label, of in ((one, attrgetter("one")), (other, attrgetter("other")))
    )
    gain = spelt(bootstrap([image.gain for image in images]))
    return f"{images[0].part}: {', '.join(sides)}, {gain}."
