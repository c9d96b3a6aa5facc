"""How to get each published dataset, for messages about missing files."""

from pathlib import Path

_IMAGENET_NAMES = "classnames.txt is the one of imagenet"

# Each note names known problems, such as dead links and copies that do not fit the split files.
_NOTES: dict[str, str] = {
    "imagenet": (
        "image-net.org gives the ILSVRC 2012 images to registered users; training images belong in "
        "images/train/<id>, validation images in images/val/<id>"
    ),
    "caltech101": (
        "the link there is dead: data.caltech.edu has caltech-101.zip, with "
        "101_ObjectCategories.tar.gz inside; Hugging Face copies have another split"
    ),
    "oxford_pets": "the images are images.tar.gz",
    "stanford_cars": (
        "the links there are dead: use a mirror that keeps the original cars_train/00001.jpg and "
        "cars_test/00001.jpg; copies sorted by class have other file names and do not fit the split"
    ),
    "oxford_flowers": "the images are 102flowers.tgz, which unpacks to jpg/",
    "food101": "the archive is food-101.tar.gz; Hugging Face copies have another split",
    "fgvc_aircraft": "the archive is fgvc-aircraft-2013b.tar.gz; its data/ is the dataset's folder",
    "sun397": (
        "the link there is dead: use a mirror of SUN397.tar.gz with the folders SUN397/a/abbey …"
    ),
    "dtd": "the archive is dtd-r1.0.1.tar.gz",
    "eurosat": "the archive is EuroSAT.zip (RGB), which unpacks to 2750/",
    "ucf101": "the archive is UCF-101-midframes.zip, one frame a video",
    "imagenetv2": f"the archive is imagenetv2-matched-frequency.tar.gz; {_IMAGENET_NAMES}",
    "imagenet_sketch": f"the images belong in images/<id>; {_IMAGENET_NAMES}",
    "imagenet_a": f"the archive is imagenet-a.tar; {_IMAGENET_NAMES}",
    "imagenet_r": f"the archive is imagenet-r.tar; {_IMAGENET_NAMES}",
}


def download_note(name: str, folder: Path) -> str:
    """Return a sentence or two on how to get a dataset and where it belongs."""
    return (
        f"Get it by the section of {name} in CoOp's DATASETS.md "
        f"(github.com/KaiyangZhou/CoOp): {_NOTES[name]}. It belongs in {folder}"
    )
