import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.data.datasets import load_dataset
from tests import miniature
from tests.data.reading import refusal, sizes
from tests.paper_dataset import groups_of

HEADER = ("path", "label", "class_name")
NAMES = ('o\'neil, "the" cat', "🦊")


def write(file: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = HEADER) -> Path:
    """Write a table in the form that its suffix asks for."""
    if file.suffix.lower() == ".parquet":
        pq.write_table(pa.table([*map(pa.array, zip(*rows, strict=True))], names=[*header]), file)
        return file
    delimiter = {".csv": ",", ".tsv": "\t"}[file.suffix.lower()]
    with file.open("w", newline="") as lines:
        csv.writer(lines, delimiter=delimiter).writerows([header, *rows])
    return file


def faults_of(file: Path) -> list[str]:
    """Return the faults of a table, without its path."""
    return [line.removeprefix(f"{file}") for line in refusal("mine", file).splitlines()]


def rows(images: int = 10) -> list[list[object]]:
    """Give rows of two classes."""
    return [[f"pictures/{i}.jpg", i % 2, NAMES[i % 2]] for i in range(images)]


@pytest.mark.parametrize("suffix", [".csv", ".TSV", ".parquet", ".PARQUET"])
def test_a_table_of_paths_is_a_dataset(suffix: str, tmp_path: Path):
    dataset = load_dataset("mine", write(tmp_path / f"images{suffix}", rows()))
    assert dataset.class_names == NAMES
    assert sizes(dataset) == [4, 2, 4]
    miniature.save(tmp_path / dataset.test[0].path, 0, 0)
    assert dataset.source.open_image(dataset.test[0].path).mode == "RGB"


@pytest.mark.parametrize(
    "splits, expected",
    [
        ("train train val Test test train", [3, 1, 2]),
        ("train train train train val val", [4, 0, 2]),  # there is no other
    ],
)
def test_a_split_column_is_followed(splits: str, expected: list[int], tmp_path: Path):
    content = [[*row, split] for row, split in zip(rows(6), splits.split(), strict=True)]
    dataset = load_dataset("mine", write(tmp_path / "x.csv", content, (*HEADER, "split")))
    assert sizes(dataset) == expected


@pytest.mark.parametrize("column", ["class_name", "label"])
def test_names_alone_are_numbered_in_alphabetical_order(column: str, tmp_path: Path):
    content = [[f"{i}.jpg", ("zebra", "ant", "2")[i % 3]] for i in range(12)]
    dataset = load_dataset("mine", write(tmp_path / "x.csv", content, ("path", column)))
    assert dataset.class_names == ("2", "ant", "zebra")


def test_columns_may_have_other_names(tmp_path: Path):
    file = write(tmp_path / "x.csv", rows(), ("datei", "nummer", "name"))
    columns = {"path": "datei", "label": "nummer", "class_name": "name"}
    assert load_dataset("mine", file, columns=columns).class_names == NAMES
    assert re.search("needs a column 'path'.*'datei'", refusal("mine", file))
    assert "'datum' don't exist" in refusal("mine", file, columns={"path": "datum"})


@pytest.mark.parametrize(
    "header, row, message",
    [
        (("path", "label"), ["a", 0], "label '0' is a number, and there is no column 'class_name'"),
        (HEADER, ["a.jpg", 0, "cat", "more"], "x.csv: cannot be read"),
        ((*HEADER, "path"), ["a", 0, "a", "b"], "two columns have one name"),
    ],
)
def test_a_head_and_rows_that_do_not_belong_together_are_refused(
    header: Sequence[str], row: list[object], message: str, tmp_path: Path
):
    assert message in refusal("mine", write(tmp_path / "x.csv", [row], header))


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.zip"])
def test_a_file_that_is_no_table_is_named(name: str, tmp_path: Path):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00 nothing")
    assert name in refusal("mine", tmp_path / name)


@pytest.mark.parametrize(
    "head, mark, name",
    [
        (" Path, Label , Class_Name,note", ", ", ".jpg"),
        ('path;label;class;"note, by hand"', ";", ", a.jpg"),
        ('path\tlabel\tclass\t"note, by hand"', "\t", ", a.jpg"),
    ],
)
def test_a_text_table_is_understood_however_it_is_spelt(
    head: str, mark: str, name: str, tmp_path: Path
):
    lines = [head, *(mark.join((f"{i}{name}", str(i % 2), "ab"[i % 2], "x")) for i in range(4))]
    (tmp_path / "x.csv").write_text("\ufeff" + "\r\n".join(lines), newline="")
    dataset = load_dataset("mine", tmp_path / "x.csv")
    assert dataset.class_names == ("a", "b")
    assert {record.path for record in dataset.train} < {f"{i}{name}" for i in range(4)}


def test_labels_may_come_out_of_a_data_frame_as_fractions(tmp_path: Path):
    content = [[f"{i}.jpg", float(i % 2), "ab"[i % 2]] for i in range(4)]
    for suffix in (".csv", ".parquet"):
        file = write(tmp_path / f"x{suffix}", content)
        assert load_dataset("m", file).class_names == ("a", "b")
    content[0][1] = 0.5
    (fault,) = faults_of(write(file, content))
    assert fault.startswith(", row 1: label '0.5' is not a whole number")


def test_an_absolute_path_below_the_tables_folder_is_made_relative(tmp_path: Path):
    content = [[tmp_path / "p" / f"{i}.jpg", "ab"[i % 2]] for i in range(4)]
    file = write(tmp_path / "x.csv", content, ("path", "class_name"))
    assert load_dataset("mine", file).test[0].path.startswith("p/")
    content[3][0] = tmp_path / ".." / "x.jpg"
    (fault,) = faults_of(write(file, content, ("path", "class_name")))
    assert re.match(", row 4: path .*/../x.jpg' is not inside", fault)


def test_blank_rows_are_left_out_and_count(tmp_path: Path):
    lines = ["path,class", "a.jpg,a", ",", "", "b.jpg,a", " , ", "c.jpg,b", "d.jpg,b", ""]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    assert sizes(load_dataset("mine", tmp_path / "x.csv")) == [2, 0, 2]
    (tmp_path / "x.csv").write_text("\n".join([*lines, ",b"]))
    assert faults_of(tmp_path / "x.csv")[0].startswith(", row 9: path '' is not inside")


FAULTS = (
    r"row 11: class_name 'c\\x00at' has a zero byte",
    "row 3: class_name '' is empty",
    "row 2: path '../b' is not inside .*; the same in row 6",
    "row 4: split 'dev' is none of train",
    "row 5: path 'a' is in an earlier row .*; the same in row 10",
    "row 8: split '' is empty",
)


def test_all_faults_of_rows_are_reported_and_each_kind_once(tmp_path: Path):
    rows = "path,class,split a,cat,train ../b,cat,train c,,train d,dog,dev a,dog,train /e,dog,train"
    rows += " ,, f,dog, g,cat,train g,cat,Test h,c\0at,train"
    (tmp_path / "x.csv").write_text(rows.replace(" ", "\n"))
    faults = faults_of(tmp_path / "x.csv")
    assert len(faults) == len(FAULTS)
    assert all(re.search(part, "\n".join(faults)) for part in FAULTS)


@pytest.mark.parametrize("pattern", [None, r"(\d)\.jpg"])
def test_a_column_has_the_groups_unless_a_pattern_does(pattern: str | None, tmp_path: Path):
    content = [[*row, f"p{i // 4}"] for i, row in enumerate(rows(40))]
    for column, columns in (("group", None), ("patient", {"group": "patient"})):
        file = write(tmp_path / "x.csv", content, (*HEADER, column))
        dataset = load_dataset("mine", file, columns=columns, groups=pattern)
        assert not groups_of(dataset.train) & groups_of(dataset.test)
        assert {*map(len, groups_of(dataset.train))} == {1 if pattern else 2}
    content[7][-1] = " "
    file = write(file, content, (*HEADER, "group"))
    assert pattern or "row 8: group '' is empty" in refusal("mine", file)
