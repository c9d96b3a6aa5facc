import csv
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.data.datasets import load_dataset
from study.errors import DataError

HEADER = ("path", "label", "class_name")
NAMES = ('o\'neil, "the" cat', "🦊")


def write(file: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = HEADER) -> Path:
    """Write a table in the form that its suffix asks for."""
    if file.suffix.lower() == ".parquet":
        columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
        pq.write_table(pa.table(columns), file)
        return file
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
        writer.writerows([header, *rows])
    return file


def rows(images: int = 10) -> list[list[object]]:
    """Give rows of two classes."""
    return [[f"pictures/{i}.jpg", i % 2, NAMES[i % 2]] for i in range(images)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".CSV", ".Tsv", ".PARQUET"])
def test_a_table_of_paths_is_a_dataset(suffix: str, miniature: ModuleType, tmp_path: Path) -> None:
    for number in range(10):
        miniature.save(tmp_path / "pictures" / f"{number}.jpg", number % 2, number)
    dataset = load_dataset("mine", write(tmp_path / f"images{suffix}", rows()))
    assert dataset.class_names == NAMES
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [4, 2, 4]
    assert dataset.source.open(dataset.test[0].path).mode == "RGB"


def test_a_split_column_is_followed(tmp_path: Path) -> None:
    splits = ["train", "train", "val", "Test", "test", "train"]
    content = [[*row, split] for row, split in zip(rows(6), splits, strict=True)]
    dataset = load_dataset("mine", write(tmp_path / "x.csv", content, (*HEADER, "split")))
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [3, 1, 2]


@pytest.mark.parametrize("column", ["class_name", "label"])
def test_names_alone_are_numbered_in_alphabetical_order(column: str, tmp_path: Path) -> None:
    content = [[f"{i}.jpg", ("zebra", "ant", "2")[i % 3]] for i in range(12)]
    dataset = load_dataset("mine", write(tmp_path / "x.csv", content, ("path", column)))
    assert dataset.class_names == ("2", "ant", "zebra")


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    file = write(tmp_path / "x.csv", rows(), ("datei", "nummer", "name"))
    columns = {"path": "datei", "label": "nummer", "class_name": "name"}
    assert load_dataset("mine", file, columns=columns).class_names == NAMES
    with pytest.raises(DataError, match=r"needs a column 'path'.*'datei'"):
        load_dataset("mine", file)
    with pytest.raises(DataError, match="'datum' are not there"):
        load_dataset("mine", file, columns={"path": "datum"})
    with pytest.raises(DataError, match="'picture' are not there"):
        load_dataset("mine", file, columns={"picture": "datei"})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("row", "told"),
    [
        (["../x.jpg", 0, NAMES[0]], "row 11: path '../x.jpg' is not inside"),
        ([None, 0, NAMES[0]], "row 11: path '' is not inside"),
        (["pictures/0.jpg", 0, NAMES[0]], "listed twice"),
        (["x.jpg", 5, "five"], "missing: 2, 3, 4"),
        (["x.jpg", 0, NAMES[1]], "two class names"),
        (["x.jpg", 2, ""], "label 2 has an empty class name"),
    ],
)
def test_a_malformed_row_is_named(
    suffix: str, row: list[object], told: str, tmp_path: Path
) -> None:
    file = write(tmp_path / f"x{suffix}", [*rows(), row])
    with pytest.raises(DataError, match=told):
        load_dataset("mine", file)


def test_labels_that_are_no_numbers_are_refused_beside_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2: label 'one'"):
        load_dataset("mine", write(tmp_path / "x.csv", [["a", 0, "a"], ["b", "one", "b"]]))


def test_numbers_without_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'class_name' is needed as well"):
        load_dataset("mine", write(tmp_path / "x.csv", [["a", 0]], ("path", "label")))


def test_a_row_of_another_length_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "x.csv", [*rows(), ["a.jpg", 0]])
    with pytest.raises(DataError, match="row 11: other than 3 fields"):
        load_dataset("mine", file)


def test_an_unknown_split_is_named_and_a_missing_one(tmp_path: Path) -> None:
    header = (*HEADER, "split")
    with pytest.raises(DataError, match="row 1: split 'dev'; allowed: train, val"):
        load_dataset("mine", write(tmp_path / "x.csv", [["a", 0, "a", "dev"]], header))
    some = [["a", 0, "a", "train"], ["b", 0, "a", ""]]
    with pytest.raises(DataError, match="1 rows have no split"):
        load_dataset("mine", write(tmp_path / "y.csv", some, header))


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.zip"])
def test_a_file_that_is_no_table_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00 nothing")
    with pytest.raises(DataError, match=name):
        load_dataset("mine", tmp_path / name)


@pytest.mark.parametrize(
    "head",
    [
        "path,label,class_name",
        " Path, Label , Class_Name",
        "path;label;class_name",
        "Image,TARGET,class",
    ],
)
def test_a_head_is_understood_however_it_is_spelt(head: str, tmp_path: Path) -> None:
    mark = ";" if ";" in head else ", "
    lines = [head, *(mark.join(map(str, [f"{i}.jpg", i % 2, "ab"[i % 2]])) for i in range(4))]
    (tmp_path / "x.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8", newline="")
    dataset = load_dataset("mine", tmp_path / "x.csv")
    assert dataset.class_names == ("a", "b")
    assert {record.path for record in dataset.train} < {f"{i}.jpg" for i in range(4)}


def test_a_head_that_repeats_a_column_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "x.csv", [["a", 0, "a", "b"]], (*HEADER, "path"))
    with pytest.raises(DataError, match="two columns have one name"):
        load_dataset("mine", file)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_labels_may_come_out_of_a_data_frame_as_fractions(suffix: str, tmp_path: Path) -> None:
    content = [[f"{i}.jpg", float(i % 2), "ab"[i % 2]] for i in range(4)]
    assert load_dataset("m", write(tmp_path / f"x{suffix}", content)).class_names == ("a", "b")
    content[0][1] = 0.5
    with pytest.raises(DataError, match=r"row 1: label '0\.5'; allowed are whole numbers"):
        load_dataset("m", write(tmp_path / f"y{suffix}", content))


def test_an_absolute_path_below_the_tables_folder_is_made_relative(tmp_path: Path) -> None:
    content = [[str(tmp_path / "p" / f"{i}.jpg"), "ab"[i % 2]] for i in range(4)]
    file = write(tmp_path / "x.csv", content, ("path", "class_name"))
    assert load_dataset("mine", file).test[0].path.startswith("p/")
    content[3][0] = str(tmp_path / ".." / "x.jpg")
    with pytest.raises(DataError, match=r"row 4: path .* is not inside"):
        load_dataset("mine", write(tmp_path / "x.csv", content, ("path", "class_name")))


def test_validation_rows_are_the_test_split_where_there_is_no_other(tmp_path: Path) -> None:
    content = [[f"{i}.jpg", "ab"[i % 2], "train" if i < 4 else "val"] for i in range(6)]
    dataset = load_dataset("m", write(tmp_path / "x.csv", content, ("path", "class", "split")))
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [4, 0, 2]


@pytest.fixture
def flat(miniature: ModuleType, tmp_path: Path) -> Path:
    """Ten images in two class folders."""
    for number in range(10):
        name = ("red fox", "grey_wolf")[number % 2]
        miniature.save(tmp_path / "mine" / name / f"{number}.jpg", number % 2, number)
    return tmp_path / "mine"


def test_a_flat_folder_of_ten_images_is_a_dataset(flat: Path) -> None:
    dataset = load_dataset("mine", flat)
    assert dataset.class_names == ("grey_wolf", "red fox")
    assert dataset.templates == ("a photo of a {}.",)
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [4, 2, 4]
    assert load_dataset("mine", flat).test == dataset.test
    assert dataset.source.open(dataset.train[0].path).size == (30, 24)


def test_a_split_folder_is_read_as_it_lies(miniature: ModuleType, tmp_path: Path) -> None:
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        for label, name in enumerate(("a", "b")):
            for number in range(count):
                miniature.save(tmp_path / split / name / f"{number}.png", label, number)
    dataset = load_dataset("mine", tmp_path)
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [6, 4, 2]
    assert dataset.val[0].path == "validation/a/0.png"


def test_files_that_are_no_images_and_hidden_ones_are_left_alone(flat: Path) -> None:
    (flat / "red fox" / "notes.txt").write_text("x")
    (flat / "red fox" / "._1.jpg").write_text("x")
    (flat / ".cache").mkdir()
    (flat / "__MACOSX").mkdir()
    dataset = load_dataset("mine", flat)
    assert len(dataset.train) + len(dataset.val) + len(dataset.test) == 10


def test_the_further_suffixes_of_jpeg_are_read(flat: Path) -> None:
    for number, suffix in enumerate((".jfif", ".JPE")):
        file = flat / "grey_wolf" / f"{2 * number + 1}.jpg"
        file.rename(file.with_suffix(suffix))
    dataset = load_dataset("mine", flat)
    records = (*dataset.train, *dataset.val, *dataset.test)
    assert len(records) == 10
    assert all(dataset.source.open(record.path) for record in records)


@pytest.mark.parametrize("name", ['o\'neil "the" cat', "🦊 fox", "x" * 250, "Straße {}"])
def test_any_folder_name_is_a_class_name(name: str, flat: Path) -> None:
    (flat / "red fox").rename(flat / name)
    dataset = load_dataset("mine", flat)
    assert name in dataset.class_names
    assert dataset.source.open(dataset.train[-1].path)


def test_an_empty_class_is_named(flat: Path) -> None:
    (flat / "empty").mkdir()
    with pytest.raises(DataError, match=r"no images .* in 'empty'"):
        load_dataset("mine", flat)


def test_a_folder_without_classes_says_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"root/class/\*\.jpg"):
        load_dataset("mine", tmp_path)


def test_a_test_class_without_training_images_is_named(
    miniature: ModuleType, tmp_path: Path
) -> None:
    for place in ("train/a", "train/b", "test/a", "test/c"):
        miniature.save(tmp_path / place / "1.jpg", 0, 1)
    with pytest.raises(DataError, match="classes without training images: 'c'"):
        load_dataset("mine", tmp_path)


def test_classes_may_be_called_like_splits_if_there_is_no_test(
    miniature: ModuleType, tmp_path: Path
) -> None:
    for place in ("train", "plane"):
        for number in range(4):
            miniature.save(tmp_path / place / f"{number}.jpg", 0, number)
    assert load_dataset("vehicles", tmp_path).class_names == ("plane", "train")


@pytest.mark.parametrize("splits", [("Train", "Test"), ("train", "val"), ("TRAIN", "Valid")])
def test_splits_are_known_however_capitalized_and_validation_serves_as_test(
    splits: tuple[str, str], miniature: ModuleType, tmp_path: Path
) -> None:
    for place in (f"{split}/{name}" for split in splits for name in "ab"):
        miniature.save(tmp_path / place / "1.jpg", 0, 1)
    dataset = load_dataset("mine", tmp_path)
    assert dataset.class_names == ("a", "b")
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [2, 0, 2]
    assert dataset.test[0].path.startswith(splits[1])


@pytest.mark.parametrize("place", [b"red fox/\xff.jpg", b"\xff/1.jpg"])
def test_a_name_that_is_no_text_is_refused(place: bytes, flat: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(flat) + b"/" + place))
    strange.parent.mkdir(exist_ok=True)
    strange.write_bytes(b"x")
    with pytest.raises(DataError, match="not UTF-8") as caught:
        load_dataset("mine", flat)
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("split", "lacking"), [("train", "'test' or 'val'"), ("Test", "'train'"), ("val", "'train'")]
)
def test_one_split_without_the_other_is_named(
    miniature: ModuleType, tmp_path: Path, split: str, lacking: str
) -> None:
    for name in ("cat", "dog"):
        for number in range(4):
            miniature.save(tmp_path / split / name / f"{number}.jpg", number % 2, number)
    with pytest.raises(DataError, match=f"has '{split}' without") as caught:
        load_dataset("mine", tmp_path)
    assert lacking in str(caught.value)
    assert f"{tmp_path / split} itself" in str(caught.value)
    assert load_dataset("mine", tmp_path / split).class_names == ("cat", "dog")


def test_a_class_may_have_the_name_of_a_split(miniature: ModuleType, tmp_path: Path) -> None:
    for name in ("train", "bus"):
        for number in range(4):
            miniature.save(tmp_path / name / f"{number}.jpg", number % 2, number)
    assert load_dataset("mine", tmp_path).class_names == ("bus", "train")
