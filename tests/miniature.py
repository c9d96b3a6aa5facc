"""Miniatures of the field's datasets in their exact formats on disk, from a few drawn images."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

COUNTS = (3, 2, 2)  # images a class in train, val and test
Split = tuple[list[list[object]], list[list[object]], list[list[object]]]

WNIDS = {
    "n01440764": "tench",
    "n01443537": "goldfish",
    "n01484850": "great white shark",
    "n01491361": "tiger shark",
    "n01494475": "hammerhead shark",
    "n01496331": "electric ray",
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


def save(path: Path, label: int, number: int) -> None:
    """Write one drawn image as JPEG or PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = "PNG" if path.suffix == ".png" else "JPEG"
    draw(label, number).save(path, format=form, quality=95)


@dataclass(frozen=True)
class Form:
    """How one dataset with a split file looks.

    Attributes:
        folder, images, split: as in the field's layout.
        raw: raw names of the first classes, as folders or file names have them.
        clean: raw name → class name in the published split file.
        path: raw name, split, running number → path below the image folder.
    """

    folder: str
    images: str
    split: str
    raw: Sequence[str]
    clean: Callable[[str], str]
    path: Callable[[str, str, int], str]


def _same(name: str) -> str:
    return name


FORMS: dict[str, Form] = {
    "caltech101": Form(
        "caltech-101",
        "101_ObjectCategories",
        "split_zhou_Caltech101.json",
        ("Faces", "Leopards", "Motorbikes", "accordion", "airplanes"),
        lambda n: n.lower().removesuffix("s") if n[0].isupper() or n == "airplanes" else n,
        lambda n, s, i: f"{n}/image_{i:04d}.jpg",
    ),
    "oxford_pets": Form(
        "oxford_pets",
        "images",
        "split_zhou_OxfordPets.json",
        ("Abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound"),
        str.lower,
        lambda n, s, i: f"{n}_{i}.jpg",
    ),
    "stanford_cars": Form(
        "stanford_cars",
        "",
        "split_zhou_StanfordCars.json",
        ("AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C-V Cargo Van Minivan 2012"),
        lambda n: " ".join([n.split()[-1], *n.split()[:-1]]) if n[-1].isdigit() else n,
        lambda n, s, i: f"cars_{'test' if s == 'test' else 'train'}/{i:05d}.jpg",
    ),
    "oxford_flowers": Form(
        "oxford_flowers",
        "jpg",
        "split_zhou_OxfordFlowers.json",
        ("pink primrose", "hard-leaved pocket orchid", "canterbury bells", "colt's foot"),
        _same,
        lambda n, s, i: f"image_{i:05d}.jpg",
    ),
    "food101": Form(
        "food-101",
        "images",
        "split_zhou_Food101.json",
        ("apple_pie", "baby_back_ribs", "baklava", "beef_carpaccio"),
        _same,
        lambda n, s, i: f"{n}/{1000000 + i}.jpg",
    ),
    "sun397": Form(
        "sun397",
        "SUN397",
        "split_zhou_SUN397.json",
        ("a/abbey", "a/apartment_building/outdoor", "a/atrium/public", "z/zen_garden"),
        lambda n: " ".join(reversed(n.split("/")[1:])),
        lambda n, s, i: f"{n}/sun_{i:08x}.jpg",
    ),
    "dtd": Form(
        "dtd",
        "images",
        "split_zhou_DescribableTextures.json",
        ("banded", "blotchy", "braided", "bubbly"),
        _same,
        lambda n, s, i: f"{n}/{n}_{i:04d}.jpg",
    ),
    "eurosat": Form(
        "eurosat",
        "2750",
        "split_zhou_EuroSAT.json",
        ("AnnualCrop", "Forest", "SeaLake"),
        lambda n: {"AnnualCrop": "Annual Crop Land", "SeaLake": "Sea or Lake"}.get(n, n),
        lambda n, s, i: f"{n}/{n}_{i}.jpg",
    ),
    "ucf101": Form(
        "ucf101",
        "UCF-101-midframes",
        "split_zhou_UCF101.json",
        ("Apply_Eye_Makeup", "Apply_Lipstick", "Yo_Yo"),
        _same,
        lambda n, s, i: f"{n}/v_{n.replace('_', '')}_g{i:02d}_c01.jpg",
    ),
}
ELEVEN = (*FORMS, "fgvc_aircraft", "imagenet")
SHIFTED = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")


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


def _make_coop(form: Form, root: Path, classes: int, counts: Sequence[int]) -> Path:
    folder = root / form.folder
    raw = [*form.raw, *(f"zz_kind_{i}" for i in range(classes))][:classes]
    content: dict[str, list[list[object]]] = {"train": [], "val": [], "test": []}
    for label, split, number in _numbered(classes, counts):
        path = form.path(raw[label], split, number)
        save(folder / form.images / path, label, number)
        content[split].append([path, label, form.clean(raw[label])])
    if form.folder == "caltech-101":
        for dropped in ("BACKGROUND_Google", "Faces_easy"):
            save(folder / form.images / dropped / "image_0001.jpg", 99, 1)
    # The published lists are shuffled.
    for rows in content.values():
        random.Random(0).shuffle(rows)
    (folder / form.split).write_text(json.dumps(content, indent=4))
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
    folder, images = {
        "imagenet": ("imagenet", "images"),
        "imagenetv2": ("imagenetv2", "imagenetv2-matched-frequency-format-val"),
        "imagenet_sketch": ("imagenet-sketch", "images"),
        "imagenet_a": ("imagenet-adversarial", "imagenet-a"),
        "imagenet_r": ("imagenet-rendition", "imagenet-r"),
    }[name]
    names = dict(list(WNIDS.items())[:classes])
    names |= {f"n{9_000_000 + i:08d}": f"kind {i}" for i in range(classes - len(names))}
    wnids = list(names)
    # The last two sets have some of the classes only.
    labels = range(1, classes, 2) if name in ("imagenet_a", "imagenet_r") else range(classes)
    for label in labels:
        wnid = wnids[label]
        if name == "imagenet":
            for number in range(counts[0]):
                save(
                    root / folder / images / "train" / wnid / f"{wnid}_{number}.JPEG", label, number
                )
        for number in range(counts[2]):
            place, file = {
                "imagenet": (f"val/{wnid}", f"ILSVRC2012_val_{label * 50 + number:08d}.JPEG"),
                "imagenetv2": (str(label), f"{label:04x}{number:036x}.jpeg"),
                "imagenet_sketch": (wnid, f"sketch_{number}.JPEG"),
                "imagenet_a": (wnid, f"0.00{number}_fox squirrel _ lynx_0.8.jpg"),
                "imagenet_r": (wnid, f"art_{number}.jpg"),
            }[name]
            save(root / folder / images / place / file, label, 100 + number)
    if name in ("imagenet_a", "imagenet_r"):
        (root / folder / images / "README.txt").write_text("Read me.\n")
    lines = [f"{wnid} {spoken}" for wnid, spoken in names.items()]
    (root / folder / "classnames.txt").write_text("\n".join(lines) + "\n")
    return root / folder
