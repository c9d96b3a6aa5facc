"""A split file, a table or a list names images of its own dataset's folder, and no other file.

That the folder itself opens no other file is in `tests/data/images/test_sources.py`.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from study.data.datasets import load_dataset
from study.data.readers.benchmarks import LAYOUTS
from study.data.records import Dataset
from study.errors import DataError

NAMES = ("a", "b")
SPLITS = ("train", "train", "val", "test")
Row = tuple[str, int, str, str]


def split_file(root: Path, rows: list[Row]) -> Dataset:
    """Write and read a split file of the field."""
    lists: dict[str, list[list[object]]] = {"train": [], "val": [], "test": []}
    for path, label, name, split in rows:
        lists[split].append([path, label, name])
    (root / LAYOUTS["dtd"].split).write_text(json.dumps(lists))
    (root / LAYOUTS["dtd"].images).mkdir(exist_ok=True)
    return load_dataset("dtd", root)


def table(root: Path, rows: list[Row]) -> Dataset:
    """Write and read a table."""
    lines = ["path\tlabel\tclass_name\tsplit", *("\t".join(map(str, row)) for row in rows)]
    (root / "table.tsv").write_text("\n".join(lines))
    return load_dataset("mine", root / "table.tsv")


def aircraft(root: Path, rows: list[Row]) -> Dataset:
    """Write and read the text lists of FGVC Aircraft."""
    (root / "variants.txt").write_text("\n".join(NAMES))
    for split in ("train", "val", "test"):
        lines = [f"{path.removesuffix('.png')} {name}" for path, _, name, s in rows if s == split]
        (root / f"images_variant_{split}.txt").write_text("\n".join(lines))
    (root / "images").mkdir(exist_ok=True)
    return load_dataset("fgvc_aircraft", root)


@pytest.mark.parametrize(
    "read, path",
    [
        *((table, path) for path in ("{above}/secret.png", "..\\secret.png", "C:\\x.png")),
        *((read, "a/../../secret.png") for read in (split_file, table, aircraft)),
    ],
)
def test_a_path_that_leads_out_is_refused(
    tmp_path: Path, read: Callable[[Path, list[Row]], Dataset], path: str
):
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    root = tmp_path / "set"
    root.mkdir()
    rows = [
        (f"{name}/{number}.png", label, name, split)
        for label, name in enumerate(NAMES)
        for number, split in enumerate(SPLITS)
    ]
    assert len(read(root, [("a/9.png", 0, "a", "train"), *rows]).train) == 5
    outward = (path.format(above=tmp_path), 0, "a", "train")
    with pytest.raises(DataError, match="not inside the dataset's folder"):
        read(root, [outward, *rows])
