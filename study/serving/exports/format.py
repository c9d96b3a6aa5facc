"""The description of a format for exported models, and of an export in it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from study.serving.classifier import TunedClassifier
from study.serving.saved_model import SavedModel


@dataclass(frozen=True)
class ExportGuide:
    """How to use the files of an export; a model card shows it."""

    loading: str
    """Python code that loads the files from the folder ``.`` and prints the class of
    ``photo.png``, without code of this package."""
    notes: tuple[str, ...] = ()
    """Whole sentences on the files, in Markdown."""
    limits: tuple[str, ...] = ()
    """Whole sentences on small differences between the answers and those of this package."""


@dataclass(frozen=True)
class Format:
    """A row of `study.serving.exports.FORMATS`."""

    title: str
    """A noun for the folder."""
    library: str
    """The Hugging Face hub's name for the library that loads it."""
    task: str
    """The hub's name for the model's task, such as ``image-classification``."""
    write: Callable[[SavedModel, TunedClassifier, Path], ExportGuide]
    """Write the files of a model, which is loaded on the CPU, into an empty folder."""
    check_installed: Callable[[], object] = lambda: None
    """Raise a `ConfigError` if an optional library is not installed."""
