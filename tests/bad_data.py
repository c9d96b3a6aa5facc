"""Datasets of one's own that are wrong, or only look so: folders and tables, each by its name.

All are made from three classes of ten drawn photographs, which ``ok`` has as they should be.
"""

import csv
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from miniature import draw
from PIL import Image

CLASSES = ("cat", "dog", "ship")
EACH = 10  # images of a class
MOST_PIXELS = 2000
"""What Pillow's limit must be set to for ``big`` to be large, and ``bomb`` too large to be read."""
Row = Sequence[object]


def make_bad_data(root: Path) -> None:
    """Write all datasets below a folder."""
    write_classes(root / "ok", CLASSES)
    _make_names(root)
    _make_images(root)
    _make_layouts(root)
    _make_links(root)
    _make_tables(root)


def write_classes(
    folder: Path, classes: Iterable[str], each: int = EACH, *, first: int = 0, suffix: str = ".jpg"
) -> Path:
    """Draw images into a folder of class folders.

    Args:
        folder: the folder of the class folders.
        classes: the names of the class folders.
        each: the number of images of each class.
        first: the number of the first image; other numbers give other pixels.
        suffix: the suffix of the images' names.
    """
    for label, name in enumerate(classes):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + each):
            draw(label, number).save(place / f"{number}{suffix}", _format_of(suffix))
    return folder


def _format_of(suffix: str) -> str:
    return {".png": "PNG", ".tif": "TIFF"}.get(suffix, "JPEG")


def _copy(root: Path, name: str) -> Path:
    """Copy the good images and return the folder."""
    shutil.copytree(root / "ok", root / name)
    return root / name


NAMES: dict[str, tuple[str, ...]] = {
    "case": ("cat", "Cat", "dog"),
    "nfc": ("caf\u00e9", "cafe\u0301", "dog"),
    "weirdcls": ('c\'at "x"', "d&g; $HOME", "-ship 100 %"),
    "brace": ("{}", "{0}", "{name}"),
    "html": ("<b>cat", "<script>alert(1)<", "&amp;"),
    "numcls": ("0", "1", "10"),
    "tok": ("cat", "dog", "<|endoftext|>"),
    "tokens": ("a <|startoftext|> cat", "<|ENDOFTEXT|>", "dog"),
    "control": ("cat", "d\tog", "sh\nip"),
    "unseen": ("cat", "dog\u200b", "ship\u202e"),
    "joined": ("cat", "👨\u200d👩\u200d👧", "می\u200cخواهم"),
    "under": ("big_cat", "big cat", "dog"),
    "long": ("very-long-name " * 15, "dog", "ship"),
}
"""The class folders of datasets whose names are odd."""


def _make_names(root: Path) -> None:
    for dataset, names in NAMES.items():
        write_classes(root / dataset, names)
    write_classes(root / "many", [f"c{number:04d}" for number in range(400)], 4)
    write_classes(root / "oneimg", CLASSES[:2])
    write_classes(root / "oneimg", CLASSES[2:], 1)
    write_classes(root / "bytes", CLASSES[:2])
    (root / "bytes" / "cat").rename(root / "bytes" / os.fsdecode(b"c\xff"))


def _make_images(root: Path) -> None:
    """Make images that cannot be read, or that hold something else than expected."""
    for file in _copy(root, "allzero").glob("*/*"):
        file.write_bytes(b"")
    for file in sorted(_copy(root, "zero").glob("cat/*"))[:6]:
        file.write_bytes(b"")
    for file in _copy(root, "onepx").glob("*/*"):
        draw(0, int(file.stem), size=(1, 1)).save(file)
    strips = _copy(root, "strip")
    for label, name in enumerate(CLASSES):
        draw(label, 0, size=(1, 1500)).save(strips / name / "9.png")
    draw(2, 50, size=(60, 50)).save(_copy(root, "big") / "ship" / "wide.png")
    draw(2, 51, size=(90, 80)).save(_copy(root, "bomb") / "ship" / "vast.png")
    for file in sorted(_copy(root, "trunc30").glob("*/*"))[:12]:
        whole = file.read_bytes()
        file.write_bytes(whole[:-40])
    (_copy(root, "pdf") / "cat" / "x.jpg").write_bytes(b"%PDF-1.7 no image")
    write_classes(root / "float", CLASSES[1:])
    (root / "float" / "cat").mkdir()
    for number in range(EACH):
        values = np.linspace(8.6, 2998.8, 600, dtype=np.float32).reshape(20, 30) + number
        Image.fromarray(values).save(root / "float" / "cat" / f"{number}.tif")
    for file in _copy(root, "black").glob("*/*"):
        Image.new("RGB", (30, 24)).save(file)


def _make_layouts(root: Path) -> None:
    """Make folders that are laid out in other ways."""
    for name, suffix in {"onlyheic": ".heic", "noext": "", "jfif": ".jfif"}.items():
        write_classes(root / name, CLASSES, suffix=suffix)
    write_classes(root / "deep" / "cat" / "2024", ["may"])
    write_classes(root / "deep", CLASSES[1:])
    write_classes(root / "imgs" / "images", CLASSES)
    (root / "imgs" / "labels").mkdir()
    (root / "imgs" / "labels" / "list.txt").write_text("no images")
    write_classes(root / "zipped" / "pets" / "pets" / "train", CLASSES)
    write_classes(root / "zipped" / "pets" / "pets" / "test", CLASSES, first=50)
    for part in ("one", "two"):
        write_classes(root / "several" / part, CLASSES)
    mixed = _copy(root, "mixed")
    for number, suffix in enumerate((".png", ".bmp", ".gif", ".webp", ".tif")):
        draw(0, 20 + number).save(mixed / "cat" / f"x{suffix}")
    write_classes(root / "v2", CLASSES)
    write_classes(root / "v2" / "valid", CLASSES, first=50)
    write_classes(root / "validonly" / "train", CLASSES)
    write_classes(root / "validonly" / "valid", CLASSES)
    write_classes(root / "coco" / "train", CLASSES)
    write_classes(root / "coco" / "val", CLASSES, 4, first=50)
    (root / "coco" / "annotations").mkdir()
    (root / "coco" / "annotations" / "instances.json").write_text("{}")
    hidden = _copy(root, "hidden")
    (hidden / "dog").rename(hidden / ".dog")
    write_classes(hidden / ".git", ["objects"], 0)
    draw(0, 99).save(_copy(root, "loose") / "cover.jpg")


def _make_links(root: Path) -> None:
    """Make links out of a dataset's folder, and what is no file at all."""
    linked = _copy(root, "linkdir") / "ship"
    shutil.rmtree(linked)
    linked.symlink_to(root / "ok" / "ship")
    for file in _copy(root, "linkimg").glob("*/*"):
        file.unlink()
        file.symlink_to(root / "ok" / file.parent.name / file.name)
    os.mkfifo(_copy(root, "fifo") / "cat" / "p.jpg")
    (_copy(root, "dirjpg") / "cat" / "folder.jpg").mkdir()


def _make_tables(root: Path) -> None:
    """Write tables of the good images, most of which are wrong in one way."""
    images = sorted((root / "ok").glob("*/*"))
    good = [(file.relative_to(root).as_posix(), file.parent.name) for file in images]
    head = ("path", "class_name")

    def table(name: str, rows: Iterable[Row], head: Row = head, **form: str) -> None:
        encoding = form.pop("encoding", "utf-8")
        with (root / f"{name}.csv").open("w", encoding=encoding, newline="") as file:
            csv.writer(file, **form).writerows([head, *rows])  # type: ignore[arg-type]

    def named(change: Callable[[int, str], object]) -> list[Row]:
        return [(path, change(number, name)) for number, (path, name) in enumerate(good)]

    def placed(change: Callable[[str], str]) -> list[Row]:
        return [(change(path), name) for path, name in good]

    def split(*names: str) -> list[Row]:
        return [(*row, names[number % len(names)]) for number, row in enumerate(good)]

    table("tab", good, delimiter="\t")
    table("bom_semi", good, delimiter=";", encoding="utf-8-sig")
    table("latin", named(lambda _, name: f"{name} é"), encoding="latin-1")
    table("abs", placed(lambda path: str((root / path).absolute())))
    table("win", placed(lambda path: "C:\\data\\" + path.replace("/", "\\")))
    table("heads2", good, ("Filename", "Class"))
    table("spaces", [(f" {path}", f" {name} ") for path, name in good], (" path ", " class_name "))
    table("nan", named(lambda _, name: name.replace("ship", "nan")))
    table("blankline", [*good[:4], ("", ""), *good[4:]])
    table("noname", named(lambda number, name: name if number != 7 else " "))
    table("intcls", named(lambda _, name: CLASSES.index(name)), ("path", "class_name"))
    labels = [(path, float(CLASSES.index(name)), name) for path, name in good]
    table("floatcls", labels, ("path", "label", "class_name"))
    three = (*head, "split")
    table("splitbad", split("testing", "train"), three)
    table("splitval", split("train", "train", "validation"), three)
    table("splitcase", split("TRAIN", "Train", "Test"), three)
    table("splitempty", split("train", "test", ""), three)
    table("cr", good, lineterminator="\r")
    table("http", placed(lambda path: f"https://x.org/{path}"))
    table("dupcol", [(*row, row[1]) for row in good], (*head, "class_name"))
    table("nul", named(lambda number, name: "c\0at" if number == 2 else name))
    table("conflict", [*good, (good[3][0], "ship")])
    table("twice", [*good, good[3]])
    table("several", [*good, ("", ""), (good[3][0], "ship"), ("../x.jpg", "cat")])
