"""A split file, a table or a list names images of its own dataset's folder, and no other file."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from study.data.datasets import Dataset, load_dataset
from study.data.images.sources import FolderSource
from study.data.readers.benchmarks import LAYOUTS
from study.data.records import Record
from study.data.shots import make_shots, read_published_shots, read_shots, write_shots
from study.errors import DataError

OUTWARD = [
    "../secret.png",
    "a/../../secret.png",
    "{above}/secret.png",
    "..\\secret.png",
    "C:\\x.png",
]
NAMES = ("a", "b")


def paths(path: str) -> list[tuple[str, int, str, str]]:
    """Give a sound list of images, with one path in it."""
    rows = [
        (f"{name}/{n}.png", label, name, split)
        for label, name in enumerate(NAMES)
        for n, split in enumerate(["train", "train", "val", "test"])
    ]
    return [(path, 0, "a", "train"), *rows]


def split_file(root: Path, path: str) -> Dataset:
    """Write and read a split file of the field."""
    lists: dict[str, list[list[object]]] = {"train": [], "val": [], "test": []}
    for text, label, name, split in paths(path):
        lists[split].append([text, label, name])
    (root / LAYOUTS["dtd"].split).write_text(json.dumps(lists))
    (root / LAYOUTS["dtd"].images).mkdir(exist_ok=True)
    return load_dataset("dtd", root)


def text_table(root: Path, path: str) -> Dataset:
    """Write and read a table."""
    lines = ["path\tlabel\tclass_name\tsplit", *("\t".join(map(str, r)) for r in paths(path))]
    (root / "table.tsv").write_text("\n".join(lines))
    return load_dataset("mine", root / "table.tsv")


def parquet_table(root: Path, path: str) -> Dataset:
    """Write and read a table."""
    columns = zip(*paths(path), strict=True)
    names = ["path", "label", "class_name", "split"]
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), root / "table.parquet")
    return load_dataset("mine", root / "table.parquet")


def aircraft(root: Path, path: str) -> Dataset:
    """Write and read the text lists of FGVC Aircraft."""
    (root / "variants.txt").write_text("\n".join(NAMES))
    for split in ("train", "val", "test"):
        rows = [f"{p.removesuffix('.png')} {name}" for p, _, name, s in paths(path) if s == split]
        (root / f"images_variant_{split}.txt").write_text("\n".join(rows))
    (root / "images").mkdir(exist_ok=True)
    return load_dataset("fgvc_aircraft", root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a dataset, with a picture beside it that is none of its images."""
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


@pytest.mark.parametrize("path", OUTWARD)
@pytest.mark.parametrize("read", [split_file, text_table, parquet_table, aircraft])
def test_a_path_that_leads_out_is_refused(
    root: Path, read: Callable[[Path, str], Dataset], path: str
) -> None:
    with pytest.raises(DataError, match="not inside the dataset's folder"):
        read(root, path.format(above=root.parent))


@pytest.mark.parametrize("read", [split_file, text_table, parquet_table, aircraft])
def test_the_same_list_without_it_is_read(root: Path, read: Callable[[Path, str], Dataset]) -> None:
    assert len(read(root, "a/9.png").train) == 5


@pytest.mark.parametrize("path", OUTWARD)
def test_published_shots_choose_among_a_datasets_own_images(root: Path, path: str) -> None:
    dataset = text_table(root, "a/9.png")
    row = {"impath": path.format(above=root.parent), "label": 0, "classname": "a"}
    (root / "shot_1-seed_1.json").write_text(
        json.dumps({"train": {"data": [row]}, "val": {"data": []}})
    )
    with pytest.raises(DataError, match="has no such images"):
        read_published_shots(root, dataset, shots=1, seed=1)


def test_a_file_of_shots_that_was_made_to_lead_out_opens_nothing(root: Path) -> None:
    """Its digest may well be right: whoever changes the one can change the other."""
    write_shots(make_shots("mine", 1, 1, [Record("../secret.png", 0)], []), root / "shots.jsonl")
    (record,) = read_shots(root / "shots.jsonl").train
    with pytest.raises(DataError, match="not inside the dataset's folder"):
        FolderSource(root).open_image(record.path)


def test_a_link_inside_the_folder_leads_nowhere_outside(root: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "0.png").symlink_to(root.parent / "secret.png")
    with pytest.raises(DataError, match="leads out of the dataset's folder"):
        text_table(root, "a/9.png").source.open_image("a/0.png")
