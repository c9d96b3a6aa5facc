"""Miniatures of the field's datasets in their exact formats, and image folders as users have."""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from study.storage.result_folder import JsonObject

COUNTS = (3, 2, 2)  # images a class in train, val and test

WNIDS = {
    "n01440764": "tench",
    "n01443537": "goldfish",
    "n01484850": "great white shark",
    "n01491361": "tiger shark",
    "n01494475": "hammerhead shark",
    "n01496331": "electric ray",
    # The published list has this name twice.
    "n04355933": "sunglasses",
    "n04356056": "sunglasses",
}


def draw(label: int, number: int, *, size: tuple[int, int] = (30, 24)) -> Image.Image:
    """Draw an image that tells its class by its colours and its number by noise."""
    noise = random.Random(f"{label} {number}")
    width, height = size
    color = [(label * step) % 256 for step in (67, 131, 197)]
    pixels = np.full((height, width, 3), color, dtype=np.int64)
    pixels[:: 2 + label % 5] = 255 - pixels[:: 2 + label % 5]
    pixels += np.array([[[noise.randrange(-20, 21)] * 3 for _ in range(width)]] * height)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def save(path: Path, label: int, number: int):
    """Write one drawn image as JPEG or PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = "PNG" if path.suffix == ".png" else "JPEG"
    draw(label, number).save(path, format=form, quality=95)


TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
FORMS: dict[str, JsonObject] = TABLES["coop"]
"""The datasets with a split file."""
ELEVEN = (*FORMS, "fgvc_aircraft", "imagenet")
SHIFTED = (
    *("imagenetv2", "imagenetv2_threshold", "imagenetv2_top"),
    *("imagenet_sketch", "imagenet_a", "imagenet_r"),
)


def make(name: str, root: Path, *, classes: int = 4, counts: tuple[int, int, int] = COUNTS) -> Path:
    """Write a miniature of a dataset below a data root; give the dataset's folder.

    Args:
        name: one of `ELEVEN` or `SHIFTED`.
        root: the data root.
        classes: their number.
        counts: images a class in train, val and test.
    """
    if name in FORMS:
        return _make_coop(FORMS[name], root, classes, counts)
    if name == "fgvc_aircraft":
        return _make_aircraft(root / name, classes, counts)
    return _make_imagenet(name, root, classes, counts)


def _numbered(classes: int, counts: Sequence[int]) -> Iterator[tuple[int, str, int]]:
    """Give (label, split, running number) of every image."""
    number = 0
    for label in range(classes):
        for split, count in zip(("train", "val", "test"), counts, strict=True):
            for _ in range(count):
                number += 1
                yield label, split, number


def _make_coop(form: JsonObject, root: Path, classes: int, counts: Sequence[int]) -> Path:
    folder, called = root / form["folder"], form.get("classes", {})
    raw = [*called, *(f"zz_kind_{i}" for i in range(classes))][:classes]
    content: dict[str, list[list[object]]] = {"train": [], "val": [], "test": []}
    for label, split, number in _numbered(classes, counts):
        name = raw[label]
        half = "test" if split == "test" else "train"
        plain = name.replace("_", "")
        path = form["path"].format(name=name, plain=plain, half=half, number=number)
        save(folder / form["images"] / path, label, number)
        content[split].append([path, label, called.get(name, name)])
    if form["folder"] == "caltech-101":
        for dropped in ("BACKGROUND_Google", "Faces_easy"):
            save(folder / form["images"] / dropped / "image_0001.jpg", 99, 1)
    # The published lists are shuffled.
    for rows in content.values():
        random.Random(0).shuffle(rows)
    (folder / form["split"]).write_text(json.dumps(content, indent=4))
    return folder


def _make_aircraft(folder: Path, classes: int, counts: Sequence[int]) -> Path:
    known = ["707-320", "727-200", "A340-300", "F-16A/B", "Boeing 717", "DHC-8-100"]
    variants = [*known, *(f"Z{i}" for i in range(classes))][:classes]
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for label, split, number in _numbered(classes, counts):
        save(folder / "images" / f"{number:07d}.jpg", label, number)
        lists[split].append(f"{number:07d} {variants[label]}")
    for split, lines in lists.items():
        (folder / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
    (folder / "variants.txt").write_text("\n".join(variants) + "\n")
    return folder


def _make_imagenet(name: str, root: Path, classes: int, counts: Sequence[int]) -> Path:
    form = TABLES["imagenet"][name]
    folder = root / form["folder"]
    images = folder / form["images"]
    names = dict(list(WNIDS.items())[:classes])
    names |= {f"n{9_000_000 + i:08d}": f"kind {i}" for i in range(classes - len(names))}
    wnids = list(names)
    # The last two sets have some of the classes only.
    labels = range(1, classes, 2) if name in ("imagenet_a", "imagenet_r") else range(classes)
    for label in labels:
        wnid = wnids[label]
        if name == "imagenet":
            for number in range(counts[0]):
                save(images / "train" / wnid / f"{wnid}_{number}.JPEG", label, number)
        for number in range(counts[2]):
            image = label * 50 + number
            path = form["path"].format(wnid=wnid, label=label, number=number, image=image)
            save(images / path, label, 100 + number)
    if name in ("imagenet_a", "imagenet_r"):
        (images / "README.txt").write_text("Read me.\n")
    lines = [f"{wnid} {spoken}" for wnid, spoken in names.items()]
    (folder / "classnames.txt").write_text("\n".join(lines) + "\n")
    return folder


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
