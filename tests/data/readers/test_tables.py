import csv
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from study.data.datasets import ReaderOptions, load_dataset
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
    assert dataset.source.open_image(dataset.test[0].path).mode == "RGB"


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
    assert load_dataset("mine", file, options=ReaderOptions(columns=columns)).class_names == NAMES
    with pytest.raises(DataError, match=r"needs a column 'path'.*'datei'"):
        load_dataset("mine", file)
    with pytest.raises(DataError, match="'datum' are not there"):
        load_dataset("mine", file, options=ReaderOptions(columns={"path": "datum"}))
    with pytest.raises(DataError, match="'picture' are not there"):
        load_dataset("mine", file, options=ReaderOptions(columns={"picture": "datei"}))


CASES = yaml.safe_load(Path(__file__).with_name("malformed_rows.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(("row", "told"), CASES)
def test_a_malformed_row_is_named(
    suffix: str, row: list[object], told: str, tmp_path: Path
) -> None:
    file = write(tmp_path / f"x{suffix}", [*rows(), row])
    with pytest.raises(DataError, match=told):
        load_dataset("mine", file)


@pytest.mark.parametrize(
    ("header", "row", "told"),
    [
        (("path", "label"), ["a", 0], "'class_name' is needed as well"),
        (HEADER, ["a.jpg", 0], "row 1: other than 3 fields"),
        ((*HEADER, "path"), ["a", 0, "a", "b"], "two columns have one name"),
    ],
)
def test_a_head_and_rows_that_do_not_belong_together_are_refused(
    header: Sequence[str], row: list[object], told: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=told):
        load_dataset("mine", write(tmp_path / "x.csv", [row], header))


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


def faults_of(file: Path) -> list[str]:
    """Return the faults of a table, without its path."""
    with pytest.raises(DataError) as caught:
        load_dataset("mine", file)
    return [line.removeprefix(f"{file}") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize("quoted", ["class", '"class, by hand"'])
def test_a_csv_file_is_read_whatever_separates_its_cells(
    mark: str, quoted: str, tmp_path: Path
) -> None:
    lines = [mark.join(("path", "class", quoted.replace("class", "note")))]
    lines += [mark.join((f"{i}, a.jpg", "ab"[i % 2], "x")) for i in range(4)]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    dataset = load_dataset("mine", tmp_path / "x.csv")
    assert dataset.class_names == ("a", "b")
    assert {record.path for record in dataset.train} < {f"{i}, a.jpg" for i in range(4)}


def test_a_blank_row_has_its_number_and_empty_lines_count(tmp_path: Path) -> None:
    lines = ["path,class", "a.jpg,a", ",", "", "b.jpg,a", " , ", "c.jpg,b", "d.jpg,b", ""]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    assert faults_of(tmp_path / "x.csv") == [
        ", row 2: is blank; remove it; row 5 has this fault too"
    ]


def test_two_numbers_of_one_name_are_conflicting(tmp_path: Path) -> None:
    (fault,) = faults_of(write(tmp_path / "x.csv", [["a", 0, "cat"], ["a", 1, "cat"]]))
    assert "conflicting labels, '1' here and '0' in row 1" in fault


def test_an_image_in_two_splits_is_named_with_both_rows(tmp_path: Path) -> None:
    content = [["a", "cat", "train"], ["b", "cat", "test"], ["a", "cat", "Test"]]
    (fault,) = faults_of(write(tmp_path / "x.csv", content, ("path", "class", "split")))
    assert fault.startswith(", row 3: 'a' is in test here and in train in row 1")


def test_all_faults_of_rows_are_told_and_each_kind_once(tmp_path: Path) -> None:
    content = [
        ["a", "cat", "train"],
        ["../b", "cat", "train"],
        ["c", "", "train"],
        ["d", "dog", "dev"],
        ["a", "dog", "train"],
        ["/e", "dog", "train"],
        ["", "", ""],
        ["f", "dog", ""],
    ]
    faults = faults_of(write(tmp_path / "x.csv", content, ("path", "class", "split")))
    assert len(faults) == 6
    told = "\n".join(faults)
    for part in (
        "row 7: is blank",
        "row 3: has no class name",
        "row 2: path '../b' is not inside",
        "; row 6 has this fault too",
        "row 4: split 'dev'; allowed: train",
        "row 5: 'a' has conflicting labels",
        "1 rows have no split (8); allowed: all or none",
    ):
        assert part in told
