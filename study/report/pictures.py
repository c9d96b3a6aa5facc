"""Pictures in the report: test images that were mistaken, or nearly, and labels to check.

Images are decoded as for training, made small and encoded anew, so that nothing but pixels of a
file gets into the report. Test images are shown after everything is chosen, and select nothing.
"""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from study.data.readers.huggingface import PREFIX
from study.data.records import Dataset, result_names
from study.errors import StudyError
from study.report.formatting import percent
from study.results.study_result import StudyResult
from study.trial.predictions import read_predictions
from study.trial.study import Prediction, Study

PICTURES = 12
"""The number of pictures of each kind."""
LABELS_SHOWN = 24
"""The number of pictures of labels to check."""
PICTURE_SIDE = 96
"""The longer side of a picture, in pixels; a smaller image keeps its size."""
LOSSLESS_SIDE = 40
"""The longest side of a picture that is encoded without loss, as small ones suffer most."""
QUALITY = 75
"""JPEG's quality of larger pictures."""
_THREADS = 4

Datasets = Mapping[str, Dataset]
"""Datasets that were read already, by name."""
ImageKey = tuple[str, str]
"""The part of an image, and its path."""


@dataclass(frozen=True)
class Picture:
    """An image, and what models take it for."""

    address: str | None
    """The picture as a ``data:`` URI; None where the image is gone."""
    small: bool
    """Whether it has so few pixels that they stay squares when a page enlarges it."""
    path: str
    """The image's path in its dataset."""
    true: str
    """The name of its class."""
    predicted: str
    """The name of the class that it is taken for."""
    probability: str
    """The probability of that class, in percent; empty for a label to check."""
    seeds: str
    """How many of the seeds take the image for another class; empty if there is one seed, and for a
    label to check."""


@dataclass(frozen=True)
class Gallery:
    """The pictures of a report."""

    mistakes: Sequence[Picture]
    """The wrong predictions with the highest probabilities, the highest first."""
    uncertain: Sequence[Picture]
    """The predictions with the lowest probabilities, the lowest first."""
    seed: int | None
    """The seed of the model that made the predictions; None where none were kept."""

    @property
    def missing_images(self) -> int:
        """The number of pictures whose image is gone."""
        return sum(picture.address is None for picture in (*self.mistakes, *self.uncertain))

    @property
    def has_images(self) -> bool:
        """Whether the image of any picture is there."""
        return self.missing_images < len(self.mistakes) + len(self.uncertain)


def make_gallery(board: StudyResult, datasets: Datasets) -> Gallery:
    """Return the pictures of what validation chose, with the first seed that kept predictions.

    The first seed is the one whose model the report tells how to load; the best on test would be
    selected on test.

    Args:
        board: the leaderboard of the study.
        datasets: the datasets that were read already. Another one is read, unless it would have to
            be downloaded.

    Raises:
        LedgerError: a file of predictions is damaged.
    """
    predictions_by_seed = {}
    trials = board.tested_trials(board.best_by_validation.label) if board.best_by_validation else ()
    for trial in trials:
        predictions = read_predictions(board.folder, trial.trial_id, trial.settings.head)
        if predictions:
            predictions_by_seed[trial.seed] = predictions
    if not predictions_by_seed:
        return Gallery((), (), None)
    wrong_seeds = Counter(
        _image_key(prediction)
        for predictions in predictions_by_seed.values()
        for prediction in predictions
        if prediction.predicted != prediction.label
    )
    seed = min(predictions_by_seed)
    uncertain = sorted(predictions_by_seed[seed], key=lambda p: (p.probability, p.part, p.path))
    mistakes = [p for p in uncertain if p.predicted != p.label]
    mistakes.sort(key=lambda p: (-p.probability, p.part, p.path))
    uncertain, mistakes = uncertain[:PICTURES], mistakes[:PICTURES]
    images = _encode_images(board.study, mistakes + uncertain, datasets)

    def make_picture(prediction: Prediction) -> Picture:
        key = _image_key(prediction)
        seeds = _describe_seeds(wrong_seeds[key], len(predictions_by_seed))
        probability = f"{percent(prediction.probability)} %"
        taken = prediction.label, prediction.predicted
        return Picture(*images[key], prediction.path, *taken, probability, seeds)

    return Gallery(list(map(make_picture, mistakes)), list(map(make_picture, uncertain)), seed)


def label_pictures(results: StudyResult, datasets: Datasets) -> list[Picture]:
    """Return the pictures of the first labels to check.

    Args:
        results: the results of the study.
        datasets: see `make_gallery`.

    Raises:
        LedgerError: a file of a trial is damaged.
    """
    check = results.label_check
    if check is None:
        return []
    shown = check.likely_mislabelled[:LABELS_SHOWN]
    predictions = [Prediction("text", "", *label) for label in shown]
    images = _encode_images(results.study, predictions, datasets, tested=False)
    return [Picture(*images["", label.path], *label[:3], "", "") for label in shown]


def _image_key(prediction: Prediction) -> ImageKey:
    return prediction.part, prediction.path


def _describe_seeds(wrong: int, seeds: int) -> str:
    """Return how many of the seeds take an image for another class."""
    if seeds == 1:
        return ""
    if wrong:
        return f"wrong with {wrong} of {seeds} seeds"
    return f"right with all {seeds} seeds"


def _encode_images(
    study: Study, predictions: Sequence[Prediction], datasets: Datasets, *, tested: bool = True
) -> dict[ImageKey, tuple[str | None, bool]]:
    """Encode images of the test or of the training; None stands for an image that is gone."""

    @cache
    def find_images(name: str) -> tuple[Dataset, set[tuple[str, str]]] | None:
        """Return a dataset and the path and class of each of its images; None if it is gone."""
        dataset = datasets.get(name)
        if dataset is None:
            if name.startswith(PREFIX):  # which a report must not begin to download
                return None
            is_trained = name == study.config.data.dataset
            try:
                dataset = study.dataset if is_trained else study.target(name)
            except StudyError:
                return None
        records = dataset.test if tested else dataset.train + dataset.val
        names = result_names(dataset.class_names)
        return dataset, {(record.path, names[record.label]) for record in records}

    sources = {}
    for prediction in predictions:
        name = study.config.data.dataset
        if prediction.part in study.config.data.targets:
            name = prediction.part
        images = find_images(name)
        # A path that now belongs to another class is another image.
        if images is not None and (prediction.path, prediction.label) in images[1]:
            sources[_image_key(prediction)] = images[0]
    paths = [path for _, path in sources]
    with ThreadPoolExecutor(_THREADS) as pool:  # Pillow decodes without Python's global lock
        pictures = pool.map(_encode_file, sources.values(), paths)
    gone = dict.fromkeys(map(_image_key, predictions), (None, False))
    return gone | dict(zip(sources, pictures, strict=True))


def _encode_file(dataset: Dataset, path: str) -> tuple[str | None, bool]:
    try:
        image = dataset.source.open_image(path)
    except StudyError:
        return None, False
    return encode_picture(image)


def encode_picture(image: Image.Image) -> tuple[str, bool]:
    """Return a small copy of an image as a ``data:`` URI, and whether it has very few pixels.

    Args:
        image: an image in RGB.
    """
    image = image.convert("RGB")
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    # An image made of numbers has nothing else: no EXIF, no profile, no comment.
    pixels = Image.fromarray(np.asarray(image, dtype=np.uint8))
    small = max(pixels.size) <= LOSSLESS_SIDE
    contents = io.BytesIO()
    if small:
        form = "png"
        pixels.save(contents, form, optimize=True)
    else:
        form = "jpeg"
        pixels.save(contents, form, quality=QUALITY, optimize=True)
    text = base64.b64encode(contents.getvalue()).decode("ascii")
    return f"data:image/{form};base64,{text}", small
