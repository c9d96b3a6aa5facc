"""The published datasets in one table: layout, prompt, size, and how to get each one.

A further dataset with one of these layouts is one more row.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

DEFAULT_TEMPLATE = "a photo of a {}."


def _renamed(**names: str) -> Callable[[str], str]:
    return lambda name: names.get(name, name)


def _cars(name: str) -> str:
    """Move the year from the end to the front."""
    return re.sub(r"\A(.+) ((?:19|20)\d\d)\Z", r"\2 \1", name)


def _sun(name: str) -> str:
    """Reverse the parts of a path: `atrium/public` becomes `public atrium`."""
    # Paths of the raw list start with a folder for the first letter: /a/atrium/public.
    path = re.sub(r"\A/*[^/]/+(?=[^/])", "", name)
    return " ".join(part for part in reversed(path.split("/")) if part)


def _ucf(name: str) -> str:
    """Separate CamelCase words: `ApplyEyeMakeup` becomes `Apply_Eye_Makeup`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)


@dataclass(frozen=True)
class Layout:
    """The files and folders of a dataset below the data root.

    A dataset has a published split file; a shifted test set of ImageNet has a folder per class.
    """

    folder: str
    """The name of the dataset's folder."""
    images: str
    """The image folder inside the dataset's folder; "" means the dataset's folder itself."""
    split: str = ""
    """The name of the split file; "" means that this is a shifted test set."""
    clean: Callable[[str], str] = str
    """A function from a raw class name to the class name of the prompts."""
    dropped: frozenset[str] = frozenset()
    """The raw names of classes that the published experiments leave out."""
    anchors: tuple[str, ...] = ()
    """The image folders of a dataset that has several; `images` is then ""."""
    numbered: bool = False
    """Whether class folders are named by position in classnames.txt rather than WordNet id."""
    subset: int = 0
    """The number of classes of a shift with only some of classnames.txt; 0 means all of them."""


class Counts(NamedTuple):
    """The numbers of classes, and of images of each split, in a dataset."""

    classes: int
    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Benchmark:
    """A published dataset."""

    layout: Layout | None
    """The files and folders; None means that the dataset's own reader knows them."""
    counts: Counts
    """The published numbers of classes and images."""
    how_to_get: str
    """Known problems of getting the images, such as dead links or copies that do not fit."""
    template: str = DEFAULT_TEMPLATE
    """The prompt of the reference code, which differs from CoOp's for DTD (``{} texture.``)."""
    source: str = ""
    """Where it is published; "" means a section of CoOp's DATASETS.md."""


_NAMES = "classnames.txt is the one of imagenet"
_IMAGENETV2 = "the README of ImageNetV2 (github.com/modestyachts/ImageNetV2)"
BENCHMARKS = {
    "imagenet": Benchmark(
        None,
        Counts(1000, 1_281_167, 0, 50_000),
        "image-net.org gives the ILSVRC 2012 images to registered users; training images belong in "
        "images/train/<id>, validation images in images/val/<id>",
    ),
    "caltech101": Benchmark(
        Layout(
            "caltech-101",
            "101_ObjectCategories",
            "split_zhou_Caltech101.json",
            _renamed(
                airplanes="airplane", Faces="face", Leopards="leopard", Motorbikes="motorbike"
            ),
            frozenset({"BACKGROUND_Google", "Faces_easy"}),
        ),
        Counts(100, 4128, 1649, 2465),
        "the link there is dead: data.caltech.edu has caltech-101.zip, with "
        "101_ObjectCategories.tar.gz inside; Hugging Face copies have another split",
    ),
    "oxford_pets": Benchmark(
        Layout("oxford_pets", "images", "split_zhou_OxfordPets.json", str.lower),
        Counts(37, 2944, 736, 3669),
        "the images are images.tar.gz",
        "a photo of a {}, a type of pet.",
    ),
    "stanford_cars": Benchmark(
        Layout(
            "stanford_cars",
            "",
            "split_zhou_StanfordCars.json",
            _cars,
            anchors=("cars_train", "cars_test"),
        ),
        Counts(196, 6509, 1635, 8041),
        "the links there are dead: use a mirror that keeps the original cars_train/00001.jpg and "
        "cars_test/00001.jpg; copies sorted by class have other file names and do not fit the "
        "split",
    ),
    "oxford_flowers": Benchmark(
        Layout("oxford_flowers", "jpg", "split_zhou_OxfordFlowers.json"),
        Counts(102, 4093, 1633, 2463),
        "the images are 102flowers.tgz, which unpacks to jpg/",
        "a photo of a {}, a type of flower.",
    ),
    "food101": Benchmark(
        Layout("food-101", "images", "split_zhou_Food101.json"),
        Counts(101, 50_500, 20_200, 30_300),
        "the archive is food-101.tar.gz; Hugging Face copies have another split",
        "a photo of {}, a type of food.",
    ),
    "sun397": Benchmark(
        Layout("sun397", "SUN397", "split_zhou_SUN397.json", _sun),
        Counts(397, 15_880, 3970, 19_850),
        "the link there is dead: use a mirror of SUN397.tar.gz with the folders SUN397/a/abbey …",
    ),
    "dtd": Benchmark(
        Layout("dtd", "images", "split_zhou_DescribableTextures.json"),
        Counts(47, 2820, 1128, 1692),
        "the archive is dtd-r1.0.1.tar.gz",
        "a photo of a {}, a type of texture.",
    ),
    "eurosat": Benchmark(
        Layout(
            "eurosat",
            "2750",
            "split_zhou_EuroSAT.json",
            _renamed(
                AnnualCrop="Annual Crop Land",
                HerbaceousVegetation="Herbaceous Vegetation Land",
                Highway="Highway or Road",
                Industrial="Industrial Buildings",
                Pasture="Pasture Land",
                PermanentCrop="Permanent Crop Land",
                Residential="Residential Buildings",
                SeaLake="Sea or Lake",
            ),
        ),
        Counts(10, 13_500, 5400, 8100),
        "the archive is EuroSAT.zip (RGB), which unpacks to 2750/",
        "a centered satellite photo of {}.",
    ),
    "ucf101": Benchmark(
        Layout("ucf101", "UCF-101-midframes", "split_zhou_UCF101.json", _ucf),
        Counts(101, 7639, 1898, 3783),
        "the archive is UCF-101-midframes.zip, one frame a video",
        "a photo of a person doing {}.",
    ),
    "fgvc_aircraft": Benchmark(
        None,
        Counts(100, 3334, 3333, 3333),
        "the archive is fgvc-aircraft-2013b.tar.gz; its data/ is the dataset's folder",
        "a photo of a {}, a type of aircraft.",
    ),
    "imagenetv2": Benchmark(
        Layout("imagenetv2", "imagenetv2-matched-frequency-format-val", numbered=True),
        Counts(1000, 0, 0, 10_000),
        f"the archive is imagenetv2-matched-frequency.tar.gz; {_NAMES}",
    ),
    "imagenetv2_threshold": Benchmark(
        Layout("imagenetv2-threshold", "imagenetv2-threshold0.7-format-val", numbered=True),
        Counts(1000, 0, 0, 10_000),
        f"the archive is imagenetv2-threshold0.7.tar.gz; {_NAMES}",
        source=_IMAGENETV2,
    ),
    "imagenetv2_top": Benchmark(
        Layout("imagenetv2-top", "imagenetv2-top-images-format-val", numbered=True),
        Counts(1000, 0, 0, 10_000),
        f"the archive is imagenetv2-top-images.tar.gz; {_NAMES}",
        source=_IMAGENETV2,
    ),
    "imagenet_sketch": Benchmark(
        Layout("imagenet-sketch", "images"),
        Counts(1000, 0, 0, 50_889),
        f"the images belong in images/<id>; {_NAMES}",
    ),
    "imagenet_a": Benchmark(
        Layout("imagenet-adversarial", "imagenet-a", subset=200),
        Counts(200, 0, 0, 7500),
        f"the archive is imagenet-a.tar; {_NAMES}",
    ),
    "imagenet_r": Benchmark(
        Layout("imagenet-rendition", "imagenet-r", subset=200),
        Counts(200, 0, 0, 30_000),
        f"the archive is imagenet-r.tar; {_NAMES}",
    ),
}
LAYOUTS = {n: b.layout for n, b in BENCHMARKS.items() if b.layout and b.layout.split}
SHIFTS = {n: b.layout for n, b in BENCHMARKS.items() if b.layout and not b.layout.split}


def download_note(name: str, folder: Path) -> str:
    """Return a sentence or two on how to get a dataset and where it belongs."""
    benchmark = BENCHMARKS[name]
    source = benchmark.source
    if not source:
        source = f"the section of {name} in CoOp's DATASETS.md (github.com/KaiyangZhou/CoOp)"
    return f"Get it by {source}: {benchmark.how_to_get}. It belongs in {folder}"
