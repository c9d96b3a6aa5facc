"""Pictures in the report: misclassified test images.

Images are decoded as for training, reduced and encoded anew, so that only the pixels of a file get
into the report. Test images are shown after the selection, and select nothing.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image

from study.data.readers.huggingface import PREFIX
from study.data.records import Dataset, result_names
from study.errors import StudyError
from study.report.formatting import percent
from study.results.classes import first_seed
from study.results.study_result import StudyResult
from study.trial.predictions import read_predictions
from study.trial.study import Study

PICTURES = 12
"""The number of pictures."""
PICTURE_SIDE = 96
"""The longer side of a picture, in pixels; a smaller image keeps its size."""

Datasets = Mapping[str, Dataset]
"""Datasets that were read already, by name."""


@dataclass(frozen=True)
class Picture:
    """An image with its predicted and true class."""

    address: str | None
    """The picture as a ``data:`` URI; None where the image is gone."""
    path: str
    """The image's path in its dataset."""
    caption: Sequence[str]
    """The predicted and the true class, in lines."""


@dataclass(frozen=True)
class Gallery:
    """The most confident mistakes on test images."""

    mistakes: Sequence[Picture]
    """The wrong predictions with the highest probabilities, the highest first."""
    caption: str
    """Whose predictions they are, or why there are none."""


def make_gallery(result: StudyResult, datasets: Datasets) -> Gallery:
    """Return the mistakes of what validation selected, with the first seed that kept predictions.

    The report shows how to load the model of this seed; the best on test would be selected on test.

    Args:
        result: the result of the study.
        datasets: the datasets that were read already. Another one is read, unless it would have to
            be downloaded.

    Raises:
        FolderError: a file of predictions is damaged.
    """
    best = result.best_by_validation
    trials = result.tested_trials(best.label) if best else []
    if not any(trial.confusion for trial in trials):
        return Gallery((), "Predictions for single images were not kept.")
    trial = first_seed(trials)
    predictions = read_predictions(result.folder, trial.trial_id, trial.settings.head)
    mistakes = [one for one in predictions if one.predicted != one.label]
    mistakes.sort(key=lambda one: (-one.probability, one.part, one.path))
    mistakes = mistakes[:PICTURES]
    own, targets = result.config.data.dataset, result.config.data.targets
    names = [one.part if one.part in targets else own for one in mistakes]
    images = {name: _find_images(result.study, datasets, name) for name in dict.fromkeys(names)}
    pictures = []
    for one, name in zip(mistakes, names, strict=True):
        dataset, known = images[name] or (None, ())
        address = None
        # A path that now belongs to another class is another image.
        if dataset is not None and (one.path, one.label) in known:
            with suppress(StudyError):
                address = encode_picture(dataset.source.open_image(one.path))
        caption = [
            f"predicted: {one.predicted}, {percent(one.probability)} %",
            f"true: {one.label}",
        ]
        pictures.append(Picture(address, one.path, caption))
    text = f"With seed {trial.seed}, every test image is classified correctly."
    if pictures:
        text = (
            f"Test images that the best configuration misclassifies with seed {trial.seed}. If you "
            "change settings after looking at them, you select on test images."
        )
    return Gallery(pictures, text)


def _find_images(
    study: Study, datasets: Datasets, name: str
) -> tuple[Dataset, set[tuple[str, str]]] | None:
    """Return a dataset with the path and class of each of its test images; None if it is gone."""
    dataset = datasets.get(name)
    if dataset is None:
        if name.startswith(PREFIX):  # a report must not start a download
            return None
        try:
            is_trained = name == study.config.data.dataset
            dataset = study.dataset if is_trained else study.target(name)
        except StudyError:
            return None
    classes = result_names(dataset.class_names)
    return dataset, {(record.path, classes[record.label]) for record in dataset.test}


def encode_picture(image: Image.Image) -> str:
    """Return a small copy of an image in RGB as a ``data:`` URI of a PNG."""
    image = image.convert("RGB")
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    contents = io.BytesIO()
    # An image made of numbers has nothing else: no EXIF, no profile, no comment.
    Image.fromarray(np.asarray(image, dtype=np.uint8)).save(contents, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(contents.getvalue()).decode('ascii')}"
