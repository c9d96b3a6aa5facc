"""Tuned models that are loaded to classify images."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from study.commands.labels import find_images
from study.commands.models import find_model
from study.serving.classifier import TunedClassifier

if TYPE_CHECKING:
    from pandas import DataFrame


class TunedModel:
    """A tuned CLIP with the classes to choose between, see `load_model`."""

    def __init__(self, name: str, classifier: TunedClassifier) -> None:
        self.name = name
        """What the model is, in words."""
        self._classifier = classifier

    def __repr__(self) -> str:
        return f"<TunedModel: {self.name}>"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self._classifier.class_names

    def predict(self, images: Any) -> "DataFrame":
        """Return the class of each image, and its probabilities.

        Args:
            images: an image or any number of them: paths, folders, Pillow images, arrays (height,
                width) or (height, width, 3) of whole numbers from 0 to 255, or encoded bytes.

        Returns:
            A row per image with its ``class_name``, the ``probability`` of that, and
            ``probabilities``, a dictionary of all classes. The index has the path of a file, or
            the position of another image.

        Raises:
            DataError: an image cannot be read; the message has its position.
        """
        is_array = isinstance(images, np.ndarray) and images.ndim < 4
        if is_array or isinstance(images, str | bytes) or not isinstance(images, Iterable):
            images = [images]
        expanded: list[object] = []
        for image in images:
            if isinstance(image, str | Path):
                expanded += find_images([str(image)])
            else:
                expanded.append(image)
        index: list[object] = []
        for number, image in enumerate(expanded):
            index.append(str(image) if isinstance(image, Path) else number)
        return self._classifier.predict(expanded).set_axis(index)


def load_model(
    model: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    device: str = "auto",
    storage: str | Path | None = None,
) -> TunedModel:
    """Load a tuned model.

    Args:
        model: the address of a registered model (``models:/NAME/VERSION``, ``models:/NAME@ALIAS``),
            a file of tuned parameters (``delta.safetensors``), or a study by name or folder.
        class_names: other classes to choose between; None means the model's own.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        storage: the folder of studies; None means ``$STUDY_STORAGE``, or else ``runs``.

    Raises:
        StudyError: there is no such model, or it cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="clipfit-model-") as scratch:
        saved = find_model(str(model), Path(scratch), storage)
        classifier = saved.load_classifier(class_names=class_names, device=device)
    return TunedModel(saved.name, classifier)
