"""What the tests of the data room share: miniature datasets and a dataset made of nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from PIL import Image

from study.data.datasets import Dataset, Record
from study.errors import DataError

# A machine under load must not fail a property by its clock.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

COOP_SPLITS = Path(__file__).parents[3] / "shared" / "data" / "coop_splits"


@pytest.fixture
def coop_splits() -> Path:
    """The folder with published split files, where a checkout has one."""
    if not COOP_SPLITS.is_dir():
        pytest.skip("published split files are not here")
    return COOP_SPLITS


class ColorSource:
    """Opens one-coloured images and remembers which; paths with "bad" in them are corrupt."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, path: str) -> Image.Image:
        """Open an image whose colour depends on its path."""
        self.opened.append(path)
        if "bad" in path:
            raise DataError(f"{path}: not a readable image")
        number = sum(path.encode())
        return Image.new("RGB", (8 + number % 3, 6), (number % 256, number % 251, number % 241))


@pytest.fixture
def colors() -> ColorSource:
    """A source of images without files."""
    return ColorSource()


@pytest.fixture
def paper_dataset() -> Callable[..., Dataset]:
    """Make a dataset on paper: so many classes, and images a class in each split."""

    def make(classes: int = 10, train: int = 8, val: int = 4, test: int = 3) -> Dataset:
        def split(name: str, count: int) -> tuple[Record, ...]:
            return tuple(
                Record(f"{name}/{label}/{i}.jpg", label)
                for label in range(classes)
                for i in range(count)
            )

        return Dataset(
            name="paper",
            class_names=tuple(f"class {i}" for i in range(classes)),
            templates=("a photo of a {}.",),
            train=split("train", train),
            val=split("val", val),
            test=split("test", test),
            source=ColorSource(),
        )

    return make
