"""What a format of exported models is: who writes it, and what it says of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from study.serving.classifier import TunedClassifier
from study.serving.saved_model import SavedModel


@dataclass(frozen=True)
class ExportGuide:
    """What a format says of the files that it has written."""

    loading: str
    """Python code that loads them from the folder ``.`` and prints the class of ``photo.png``. It
    needs no code of this package."""
    notes: tuple[str, ...] = ()
    """Whole sentences on the files, in Markdown."""
    limits: tuple[str, ...] = ()
    """Whole sentences on where the answers differ a little from those of this package."""


@dataclass(frozen=True)
class Format:
    """A row of `study.serving.exports.FORMATS`."""

    title: str
    """What the folder is, as a noun."""
    library: str
    """The library that loads it, by the name that the Hugging Face hub has for it."""
    task: str
    """The hub's name of what it does, such as ``image-classification``."""
    write: Callable[[SavedModel, TunedClassifier, Path], ExportGuide]
    """Write the files of a model into a folder, which is there and empty. The model is loaded on
    the CPU."""
    require: Callable[[], object] = lambda: None
    """Raise a `ConfigError` where an optional library is not installed."""
