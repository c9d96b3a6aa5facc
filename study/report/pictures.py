"""Test images in the report: the most confident mistakes of the winner, and its least certain ones.

Images are decoded as for training, made small and encoded anew, so that nothing but pixels of a
file gets into the report. They are shown after everything is chosen, and select nothing.
"""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from study.data.readers.huggingface import PREFIX
from study.data.records import Dataset
from study.errors import StudyError
from study.report.formatting import percent
from study.results.leaderboard import Leaderboard
from study.results.study_results import Results
from study.trial import Prediction
from study.trial.predictions import read_predictions
from study.trial.study import Study

MOST = 12
"""The number of pictures of each kind."""
LONGEST = 96
"""The longer side of a picture, in pixels; a smaller image keeps its size."""
LOSSLESS = 40
"""The longest side of a picture that is encoded without loss, as small ones suffer most."""
QUALITY = 75
"""JPEG's quality of larger pictures."""
_THREADS = 4

Datasets = Mapping[str, Dataset]
"""Datasets that were read already, by name."""


@dataclass(frozen=True)
class Picture:
    """A test image, and what the model takes it for."""

    address: str | None
    """The picture as a ``data:`` URI; None where the image is gone."""
    small: bool
    """Whether it has so few pixels that they are to stay squares when it is enlarged."""
    path: str
    """The image's path in its dataset."""
    true: str
    """The name of its class."""
    predicted: str
    """The name of the class that it is taken for."""
    probability: str
    """The probability of that class, in percent."""
    seeds: str
    """With how many of the seeds the image is taken for another class; empty for one seed."""


@dataclass(frozen=True)
class Gallery:
    """The pictures of a report."""

    mistakes: tuple[Picture, ...]
    """The wrong predictions with the highest probabilities, the highest first."""
    uncertain: tuple[Picture, ...]
    """The predictions with the lowest probabilities, the lowest first."""
    seed: int | None
    """The seed of the model that made the predictions; None where none were kept."""

    @property
    def missing(self) -> int:
        """The number of images that are gone."""
        return sum(picture.address is None for picture in (*self.mistakes, *self.uncertain))

    @property
    def shown(self) -> bool:
        """Whether any image is there."""
        return any(picture.address for picture in (*self.mistakes, *self.uncertain))


def make_gallery(results: Results, board: Leaderboard, known: Datasets) -> Gallery:
    """Return the pictures of what validation chose, with the first seed that kept predictions.

    The first seed is the one whose model the report tells how to load; the best on test would be
    selected on test.

    Args:
        results: the results of the study.
        board: its leaderboard.
        known: the datasets that were read already. Another one is read, unless it would have to be
            downloaded.

    Raises:
        LedgerError: a file of predictions is damaged.
    """
    trials = results.confirmed(board.chosen.label) if board.chosen else ()
    kept = {
        trial.seed: predictions
        for trial in sorted(trials, key=lambda trial: trial.seed)
        if trial.test_score is not None
        and (predictions := read_predictions(results.folder, trial.trial_id))
    }
    if not kept:
        return Gallery((), (), None)
    seed, first = next(iter(kept.items()))
    wrong = Counter(
        (p.part, p.path) for own in kept.values() for p in own if p.predicted != p.label
    )
    mistakes = sorted(
        (p for p in first if p.predicted != p.label), key=lambda p: (-p.probability, p.part, p.path)
    )[:MOST]
    uncertain = sorted(first, key=lambda p: (p.probability, p.part, p.path))[:MOST]
    chosen = {(p.part, p.path): p for p in (*mistakes, *uncertain)}
    images = _images(results.study, chosen.values(), known)

    def pictures(predictions: Sequence[Prediction]) -> tuple[Picture, ...]:
        return tuple(
            Picture(
                address=address,
                small=small,
                path=p.path,
                true=p.label,
                predicted=p.predicted,
                probability=f"{percent(p.probability)} %",
                seeds=_over_seeds(wrong[p.part, p.path], len(kept)),
            )
            for p in predictions
            for address, small in [images.get((p.part, p.path), (None, False))]
        )

    return Gallery(pictures(mistakes), pictures(uncertain), seed)


def _over_seeds(wrong: int, seeds: int) -> str:
    if seeds == 1:
        return ""
    return f"wrong with {wrong} of {seeds} seeds" if wrong else f"right with all {seeds} seeds"


def _images(
    study: Study, predictions: Iterable[Prediction], known: Datasets
) -> dict[tuple[str, str], tuple[str, bool]]:
    """Return the pictures of the images that are still there, with whether they are small."""
    found: list[tuple[Dataset, Prediction]] = []
    read: dict[str, tuple[Dataset, set[tuple[str, str]]] | None] = {}
    for one in predictions:
        name = one.part if one.part in study.config.data.targets else study.config.data.dataset
        if name not in read:
            read[name] = _labelled(study, name, known)
        # A path that now belongs to another class is another image.
        if (pair := read[name]) is not None and (one.path, one.label) in pair[1]:
            found.append((pair[0], one))
    with ThreadPoolExecutor(_THREADS) as pool:  # Pillow decodes without Python's global lock
        pictures = pool.map(lambda pair: _picture(*pair), found)
        return {
            (one.part, one.path): picture
            for (_, one), picture in zip(found, pictures, strict=True)
            if picture is not None
        }


def _labelled(
    study: Study, name: str, known: Datasets
) -> tuple[Dataset, set[tuple[str, str]]] | None:
    """Return a dataset and the path and class of each of its test images; None if it is gone."""
    if (dataset := known.get(name)) is None:
        if name.startswith(PREFIX):  # which a report must not begin to download
            return None
        own = name == study.config.data.dataset
        try:
            dataset = study.dataset() if own else study.target(name)
        except StudyError:
            return None
    return dataset, {(r.path, dataset.class_names[r.label]) for r in dataset.test}


def _picture(dataset: Dataset, one: Prediction) -> tuple[str, bool] | None:
    try:
        image = dataset.source.open_image(one.path)
    except StudyError:
        return None
    return encoded(image)


def encoded(image: Image.Image) -> tuple[str, bool]:
    """Return a small copy of an image as a ``data:`` URI, and whether it has very few pixels.

    Args:
        image: an image in RGB.
    """
    image = image.convert("RGB")
    image.thumbnail((LONGEST, LONGEST))
    # An image made of numbers has nothing else: no EXIF, no profile, no comment.
    pixels = Image.fromarray(np.asarray(image, dtype=np.uint8))
    small = max(pixels.size) <= LOSSLESS
    contents = io.BytesIO()
    if small:
        pixels.save(contents, "PNG", optimize=True)
    else:
        pixels.save(contents, "JPEG", quality=QUALITY, optimize=True)
    text = base64.b64encode(contents.getvalue()).decode("ascii")
    return f"data:image/{'png' if small else 'jpeg'};base64,{text}", small
