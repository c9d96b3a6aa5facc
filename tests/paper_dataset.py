"""A dataset made of nothing."""

from dataclasses import replace

from PIL import Image

from study.data.records import Dataset, Record, Records
from study.errors import DataError


class ColorSource:
    """Opens one-coloured images and remembers which; paths with "bad" in them are corrupt."""

    def __init__(self):
        self.opened: list[str] = []

    def open_image(self, path: str) -> Image.Image:
        """Open an image whose colour depends on its path."""
        self.opened.append(path)
        if "bad" in path:
            raise DataError(f"{path}: not a readable image")
        number = sum(path.encode())
        return Image.new("RGB", (8 + number % 3, 6), (number % 256, number % 251, number % 241))

    def stamp(self, path: str) -> str:
        """Return nothing: an image never changes."""
        return ""


def grouped(records: Records, images: int = 2) -> Records:
    """Return images with groups of so many within a class."""
    return tuple(
        replace(record, group=f"{record.label}/{i // images}") for i, record in enumerate(records)
    )


def groups_of(records: Records) -> set[str]:
    """Return the groups of images."""
    return {record.group for record in records}


def make_paper_dataset(classes: int = 10, train: int = 8, val: int = 4, test: int = 3) -> Dataset:
    """Make a dataset on paper: so many classes, and images a class in each split."""

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
