"""The published datasets in one table: layout, prompt, size, and how to get each one.

A further dataset with one of these layouts is one more row of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

DEFAULT_TEMPLATE = "a photo of a {}."
MIRROR = "zhengli97/prompt_learning_dataset"
"""A dataset of the Hugging Face hub with copies of those in CoOp's list."""


@dataclass(frozen=True)
class Layout:
    """The files and folders of a dataset below the data root.

    A dataset has a published list of its images; ImageNet and its shifted test sets have a folder
    per class.
    """

    folder: str
    """The name of the dataset's folder."""
    images: str = "images"
    """The image folder inside the dataset's folder; "" means the dataset's folder itself."""
    split: str = ""
    """The name of the split file; "" means that there are class folders."""
    train: str = ""
    """The folder of the training images, where these have class folders; "" means none."""
    numbered: bool = False
    """Whether class folders are named by position in classnames.txt rather than WordNet id."""


class Counts(NamedTuple):
    """The numbers of classes, and of images of each split, in a dataset."""

    classes: int
    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Benchmark:
    """A published dataset."""

    counts: Counts
    """The published numbers of classes and images."""
    how_to_get: str
    """Known problems of getting the images, such as dead links or copies that do not fit."""
    layout: Layout
    """The files and folders."""
    template: str = DEFAULT_TEMPLATE
    """The prompt of the reference code, which differs from CoOp's for DTD (``{} texture.``)."""
    source: str = ""
    """Where it is published; "" means a section of CoOp's DATASETS.md."""


IMAGENET_V2 = "the README of ImageNetV2 (github.com/modestyachts/ImageNetV2)"
SAME_NAMES = "classnames.txt is the one of imagenet"
BENCHMARKS: Mapping[str, Benchmark] = {
    "imagenet": Benchmark(
        Counts(1000, 1281167, 0, 50000),
        "image-net.org gives the ILSVRC 2012 images to registered users; training images belong in "
        "images/train/<id>, validation images in images/val/<id>",
        Layout("imagenet", "images/val", train="images/train"),
    ),
    "caltech101": Benchmark(
        Counts(100, 4128, 1649, 2465),
        "the link there is dead: data.caltech.edu has caltech-101.zip, with "
        "101_ObjectCategories.tar.gz inside; Hugging Face copies have another split",
        Layout("caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json"),
    ),
    "oxford_pets": Benchmark(
        Counts(37, 2944, 736, 3669),
        "the images are images.tar.gz",
        Layout("oxford_pets", split="split_zhou_OxfordPets.json"),
        "a photo of a {}, a type of pet.",
    ),
    "stanford_cars": Benchmark(
        Counts(196, 6509, 1635, 8041),
        "the links there are dead: use a mirror that keeps the original cars_train/00001.jpg and "
        "cars_test/00001.jpg; copies sorted by class have other file names and do not fit the "
        "split",
        Layout("stanford_cars", "", "split_zhou_StanfordCars.json"),
    ),
    "oxford_flowers": Benchmark(
        Counts(102, 4093, 1633, 2463),
        "the images are 102flowers.tgz, which unpacks to jpg/",
        Layout("oxford_flowers", "jpg", "split_zhou_OxfordFlowers.json"),
        "a photo of a {}, a type of flower.",
    ),
    "food101": Benchmark(
        Counts(101, 50500, 20200, 30300),
        "the archive is food-101.tar.gz; Hugging Face copies have another split",
        Layout("food-101", split="split_zhou_Food101.json"),
        "a photo of {}, a type of food.",
    ),
    "sun397": Benchmark(
        Counts(397, 15880, 3970, 19850),
        "the link there is dead: use a mirror of SUN397.tar.gz with the folders SUN397/a/abbey …",
        Layout("sun397", "SUN397", "split_zhou_SUN397.json"),
    ),
    "dtd": Benchmark(
        Counts(47, 2820, 1128, 1692),
        "the archive is dtd-r1.0.1.tar.gz",
        Layout("dtd", split="split_zhou_DescribableTextures.json"),
        "a photo of a {}, a type of texture.",
    ),
    "eurosat": Benchmark(
        Counts(10, 13500, 5400, 8100),
        "the archive is EuroSAT.zip (RGB), which unpacks to 2750/",
        Layout("eurosat", "2750", "split_zhou_EuroSAT.json"),
        "a centered satellite photo of {}.",
    ),
    "ucf101": Benchmark(
        Counts(101, 7639, 1898, 3783),
        "the archive is UCF-101-midframes.zip, one frame a video",
        Layout("ucf101", "UCF-101-midframes", "split_zhou_UCF101.json"),
        "a photo of a person doing {}.",
    ),
    "fgvc_aircraft": Benchmark(
        Counts(100, 3334, 3333, 3333),
        "the archive is fgvc-aircraft-2013b.tar.gz; its data/ is the dataset's folder",
        Layout("fgvc_aircraft", split="variants.txt"),
        "a photo of a {}, a type of aircraft.",
    ),
    "imagenetv2": Benchmark(
        Counts(1000, 0, 0, 10000),
        f"the archive is imagenetv2-matched-frequency.tar.gz; {SAME_NAMES}",
        Layout("imagenetv2", "imagenetv2-matched-frequency-format-val", numbered=True),
    ),
    "imagenetv2_threshold": Benchmark(
        Counts(1000, 0, 0, 10000),
        f"the archive is imagenetv2-threshold0.7.tar.gz; {SAME_NAMES}",
        Layout("imagenetv2-threshold", "imagenetv2-threshold0.7-format-val", numbered=True),
        source=IMAGENET_V2,
    ),
    "imagenetv2_top": Benchmark(
        Counts(1000, 0, 0, 10000),
        f"the archive is imagenetv2-top-images.tar.gz; {SAME_NAMES}",
        Layout("imagenetv2-top", "imagenetv2-top-images-format-val", numbered=True),
        source=IMAGENET_V2,
    ),
    "imagenet_sketch": Benchmark(
        Counts(1000, 0, 0, 50889),
        f"the images belong in images/<id>; {SAME_NAMES}",
        Layout("imagenet-sketch"),
    ),
    "imagenet_a": Benchmark(
        Counts(200, 0, 0, 7500),
        f"the archive is imagenet-a.tar; {SAME_NAMES}",
        Layout("imagenet-adversarial", "imagenet-a"),
    ),
    "imagenet_r": Benchmark(
        Counts(200, 0, 0, 30000),
        f"the archive is imagenet-r.tar; {SAME_NAMES}",
        Layout("imagenet-rendition", "imagenet-r"),
    ),
}
"""The published datasets by name."""
LAYOUTS = {name: benchmark.layout for name, benchmark in BENCHMARKS.items()}


def download_note(name: str, folder: Path) -> str:
    """Return a few sentences on how to get a dataset and where it belongs."""
    benchmark = BENCHMARKS[name]
    source = benchmark.source
    if not source:
        source = f"the section of {name} in CoOp's DATASETS.md (github.com/KaiyangZhou/CoOp)"
    note = f"Get it by {source}: {benchmark.how_to_get}. "
    if not name.startswith("imagenet"):
        note += f"A mirror, which was not tried, is {MIRROR} on the Hugging Face hub. "
    return f"{note}It belongs in {folder}"
