import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from study.data.datasets import load_dataset
from study.data.readers.benchmarks import LAYOUTS
from study.data.readers.coop import read_split_file
from study.data.tasks import class_halves
from study.errors import DataError

NAMES = (*LAYOUTS, "fgvc_aircraft")
CLASS_NAMES = {
    "caltech101": ("face", "leopard", "motorbike", "accordion"),
    "oxford_pets": (
        "abyssinian",
        "american_bulldog",
        "american_pit_bull_terrier",
        "basset_hound",
    ),
    "stanford_cars": (
        "2000 AM General Hummer SUV",
        "2012 Acura RL Sedan",
        "2012 Ram C-V Cargo Van Minivan",
        "zz_kind_0",
    ),
    "oxford_flowers": (
        "pink primrose",
        "hard-leaved pocket orchid",
        "canterbury bells",
        "colt's foot",
    ),
    "food101": ("apple_pie", "baby_back_ribs", "baklava", "beef_carpaccio"),
    "sun397": ("abbey", "outdoor apartment_building", "public atrium", "zen_garden"),
    "dtd": ("banded", "blotchy", "braided", "bubbly"),
    "eurosat": ("Annual Crop Land", "Forest", "Sea or Lake", "zz_kind_0"),
    "ucf101": ("Apply_Eye_Makeup", "Apply_Lipstick", "Yo_Yo", "zz_kind_0"),
    "fgvc_aircraft": ("707-320", "727-200", "A340-300", "F-16A/B"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_reads_from_its_layout(name: str, miniature: ModuleType, tmp_path: Path) -> None:
    miniature.make(name, tmp_path, classes=4, counts=(3, 2, 1))
    dataset = load_dataset(name, tmp_path)
    assert dataset.class_names == CLASS_NAMES[name]
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [12, 8, 4]
    for record in (*dataset.train, *dataset.val, *dataset.test):
        assert dataset.source.open(record.path).size == (30, 24)


@pytest.mark.parametrize("name", NAMES)
def test_the_root_may_be_the_datasets_own_folder(
    name: str, miniature: ModuleType, tmp_path: Path
) -> None:
    folder = miniature.make(name, tmp_path / "data")
    elsewhere = folder.rename(tmp_path / "renamed")
    assert load_dataset(name, elsewhere).train


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_list_names_the_file_the_folder_and_how_to_get_it(
    name: str, miniature: ModuleType, tmp_path: Path
) -> None:
    folder = miniature.make(name, tmp_path)
    lists = "images_variant_val.txt" if name == "fgvc_aircraft" else LAYOUTS[name].split
    (folder / lists).unlink()
    with pytest.raises(DataError) as caught:
        load_dataset(name, tmp_path)
    for part in (lists, str(folder), "DATASETS.md"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "stanford_cars"])
def test_a_missing_image_folder_is_named(name: str, miniature: ModuleType, tmp_path: Path) -> None:
    folder = miniature.make(name, tmp_path)
    images = "images" if name == "fgvc_aircraft" else LAYOUTS[name].images
    shutil.rmtree(folder / images)
    with pytest.raises(DataError, match=f"image folder {images} is missing"):
        load_dataset(name, tmp_path)
    assert load_dataset(name, tmp_path, require_images=False).train


def test_the_classes_that_the_field_leaves_out_are_dropped(tmp_path: Path) -> None:
    raw = ["BACKGROUND_Google", "Faces", "Faces_easy", "airplanes"]
    rows = [[f"{name}/1.jpg", label, name] for label, name in enumerate(raw)]
    (tmp_path / "split.json").write_text(json.dumps({"train": rows, "val": [], "test": []}))
    names, train, _, _ = read_split_file(tmp_path / "split.json", LAYOUTS["caltech101"])
    assert names == ("face", "airplane")
    assert [(record.path, record.label) for record in train] == [
        ("101_ObjectCategories/Faces/1.jpg", 0),
        ("101_ObjectCategories/airplanes/1.jpg", 1),
    ]


def test_a_list_may_begin_with_a_byte_order_mark_and_end_lines_as_windows_does(
    miniature: ModuleType, tmp_path: Path
) -> None:
    for name in ("dtd", "fgvc_aircraft", "imagenet"):
        folder = miniature.make(name, tmp_path)
        before = load_dataset(name, tmp_path)
        for file in (*folder.glob("*.txt"), *folder.glob("*.json")):
            file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
        assert load_dataset(name, tmp_path) == before


@pytest.mark.parametrize(
    ("name", "sizes", "base", "new"),
    [("eurosat", (13_500, 5400, 8100), 5, 5), ("oxford_pets", (2944, 736, 3669), 19, 18)],
)
def test_the_published_split_files_read_as_published(
    name: str,
    sizes: tuple[int, int, int],
    base: int,
    new: int,
    coop_splits: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / LAYOUTS[name].folder
    folder.mkdir()
    (folder / LAYOUTS[name].split).symlink_to(coop_splits / LAYOUTS[name].split)
    dataset = load_dataset(name, tmp_path, require_images=False)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == sizes
    assert len(dataset.class_names) == base + new
    halves = class_halves(record.label for record in dataset.train)
    assert [len(half) for half in halves] == [base, new]


def _spoil(content: dict[str, list[list[object]]], split: str, row: list[object]) -> str:
    content[split].append(row)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda c: "{", "not whole JSON"),
        (lambda c: "[" * 100_000, "not whole JSON"),
        (lambda c: "9" * 5000, "not whole JSON"),
        (lambda c: json.dumps([1]), "needs the lists"),
        (lambda c: json.dumps({"train": c["train"], "val": []}), "needs the lists"),
        (lambda c: _spoil(c, "train", ["a.jpg", 0]), r"train\[12\].*allowed is \[path, label"),
        (lambda c: _spoil(c, "val", ["a.jpg", 0.5, "x"]), "allowed is"),
        (lambda c: _spoil(c, "val", ["a.jpg", True, "x"]), "allowed is"),
        (lambda c: _spoil(c, "test", ["../a.jpg", 0, "x"]), "not inside the dataset's folder"),
        (lambda c: _spoil(c, "test", ["/a.jpg", 0, "x"]), "not inside the dataset's folder"),
        (lambda c: _spoil(c, "train", ["n.jpg", 0, "other"]), "label 0 has two class names"),
        (lambda c: _spoil(c, "train", ["n.jpg", 4, "banded"]), "'banded' has two labels, 0 and 4"),
        (lambda c: _spoil(c, "train", ["n.jpg", 9, "nine"]), "missing: 4, 5, 6, 7, 8"),
        (
            lambda c: _spoil(c, "train", ["n.jpg", 10**50, "nine"]),
            r"missing: 4, .* and 9{49}\d more",
        ),
        (lambda c: _spoil(c, "train", list(c["train"][0])), "listed twice in train"),
        (lambda c: _spoil(c, "test", list(c["train"][0])), "in both train and test"),
    ],
)
def test_an_unsound_split_file_is_refused(
    spoil: Callable[[dict[str, list[list[object]]]], str],
    told: str,
    miniature: ModuleType,
    tmp_path: Path,
) -> None:
    file = miniature.make("dtd", tmp_path) / LAYOUTS["dtd"].split
    file.write_text(spoil(json.loads(file.read_text())))
    with pytest.raises(DataError, match=told) as caught:
        load_dataset("dtd", tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("0000099 Concorde", "line 13: variant 'Concorde' is not in variants.txt"),
        ("../../x 707-320", "not inside"),
        ("0000001 707-320", "listed twice"),
    ],
)
def test_an_unsound_aircraft_list_is_refused(
    line: str, told: str, miniature: ModuleType, tmp_path: Path
) -> None:
    file = miniature.make("fgvc_aircraft", tmp_path) / "images_variant_train.txt"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(DataError, match=told):
        load_dataset("fgvc_aircraft", tmp_path)


def test_an_aircraft_without_training_images_is_named(
    miniature: ModuleType, tmp_path: Path
) -> None:
    file = miniature.make("fgvc_aircraft", tmp_path) / "variants.txt"
    file.write_text(file.read_text() + "Concorde\n")
    with pytest.raises(DataError, match=r"images_variant_train\.txt: no image of 'Concorde'"):
        load_dataset("fgvc_aircraft", tmp_path)
