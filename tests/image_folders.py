"""Image folders of small images, as users have them."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

PETS = ("cat", "dog")


def image_folder(
    root: Path, trained: Iterable[str] = PETS, tested: Iterable[str] = PETS, *, number: int = 6
) -> Path:
    """Make an image folder with so many images of each class and split, no two of them alike."""
    for split, names in (("train", trained), ("test", tested)):
        for label, name in enumerate(names):
            (root / split / name).mkdir(parents=True)
            for n in range(number):
                image = Image.new("RGB", (8, 8), (255 - n, len(split), label))
                image.save(root / split / name / f"{n}.png")
    return root
