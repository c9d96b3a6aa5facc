"""Splits that others published are matched to a dataset, or refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.data.published_shots import read_published_shots
from study.data.records import Record, Records
from study.data.shots import make_shots
from study.errors import DataError
from tests.paper_dataset import grouped, make_paper_dataset

KINDS = {"Forest": "Forest", "SeaLake": "Sea or Lake"}
"""The folders of two classes of EuroSAT, and their names."""


def records(*numbers: int) -> Records:
    """Give the records of numbered images of each class."""
    return tuple(
        Record(f"2750/{kind}/{kind}_{i}.jpg", label)
        for label, kind in enumerate(KINDS)
        for i in numbers
    )


EUROSAT = replace(
    make_paper_dataset(),
    name="eurosat",
    class_names=tuple(KINDS.values()),
    train=records(1, 2, 3),
    val=records(4, 5),
    test=records(6),
)
"""Two classes of EuroSAT on paper."""


def published(prefix: str, *numbers: int) -> list[dict[str, object]]:
    """Give records as others publish them."""
    rows = []
    for record in records(*numbers):
        name = [*KINDS.values()][record.label]
        impath = prefix + record.path.removeprefix("2750/")
        rows.append({"impath": impath, "label": record.label, "classname": name})
    return rows


def write(folder: Path, train: list[Any], val: list[Any], shots: int = 1):
    """Write a published draw."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"train": {"data": train, "indices": [0]}, "val": {"data": val}}
    (folder / f"shot_{shots}-seed_1.json").write_text(json.dumps(parts))


@pytest.mark.parametrize(
    "prefix",
    ["/home/x/DATA/eurosat/2750/", r"\\server\share/eurosat//2750/./", "./data/eurosat/2750/"],
)
@pytest.mark.parametrize("above", ["", "eurosat", "indices/eurosat"])
def test_published_shots_are_found_whatever_their_root(prefix: str, above: str, tmp_path: Path):
    write(tmp_path / above, published(prefix, 1, 3), published(prefix, 5), shots=2)
    expected = make_shots("eurosat", 2, 1, records(1, 3), records(5))
    assert read_published_shots(tmp_path, EUROSAT, shots=2, seed=1) == expected


def row(number: int = 1, label: object = 0, name: str = "Forest") -> dict[str, object]:
    """Return the row of an image of the first class, or one that has something wrong."""
    return {"impath": f"2750/Forest/Forest_{number}.jpg", "label": label, "classname": name}


@pytest.mark.parametrize(
    "rows, message",
    [
        ([row(6)], "not among the training and validation images of eurosat"),
        ([row(9)], "not among the training and validation images of eurosat"),
        ([row(4), *published("2750/", 1)], "listed twice"),
        ([row(), row()], "listed twice"),
        ([row(label=1)], "is 1 'For"),
        ([row(name="Wood")], "0 'Wood'"),
        (["x"], "needs impath, label and classname"),
        ([row(label=float("inf"))], "needs impath"),
        ([], r"got 'Forest \(0\)', 'Sea or Lake \(0\)'"),
        ([*published("2750/", 1), row(2)], r"1 training images of each class.* got 'Forest \(2\)'"),
    ],
)
def test_unsound_published_shots_are_refused(rows: list[Any], message: str, tmp_path: Path):
    write(tmp_path, rows, published("2750/", 4))
    with pytest.raises(DataError, match=message):
        read_published_shots(tmp_path, EUROSAT, shots=1, seed=1)


@pytest.mark.parametrize("text", ["", "{", "9" * 5000, "{}"])
def test_a_damaged_file_is_named(text: str, tmp_path: Path):
    (tmp_path / "shot_1-seed_1.json").write_text(text)
    with pytest.raises(DataError, match=r"shot_1-seed_1\.json"):
        read_published_shots(tmp_path, EUROSAT, shots=1, seed=1)


def test_all_images_of_a_class_that_has_fewer_than_the_shots_are_a_draw(tmp_path: Path):
    write(tmp_path, published("2750/", 1, 2, 3), [], shots=4)
    assert read_published_shots(tmp_path, EUROSAT, shots=4, seed=1).train == EUROSAT.train


def test_published_shots_with_a_group_on_both_sides_are_refused(tmp_path: Path):
    dataset = replace(EUROSAT, train=grouped(EUROSAT.train, 3), val=grouped(EUROSAT.val, 3))
    write(tmp_path, published("2750/", 1), published("2750/", 4))
    with pytest.raises(DataError, match=r"groups are on two sides.*Forest_1.jpg' in train and"):
        read_published_shots(tmp_path, dataset, shots=1, seed=1)
