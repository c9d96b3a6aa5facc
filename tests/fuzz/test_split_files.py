"""Whatever stands in a split file or a table: a dataset inside its folder, or one told error."""

import contextlib
import copy
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.data.datasets import ReaderOptions, load_dataset
from study.data.images.sources import FolderSource
from study.data.readers.benchmarks import LAYOUTS
from study.data.readers.published import read_class_names
from study.data.records import Dataset, Record
from study.data.shots import draw_shots, read_published_shots, read_shots, write_shots
from study.errors import DataError

from .conftest import places

pytestmark = pytest.mark.timeout(1800)

HOSTILE = json.loads(Path(__file__).with_name("hostile.json").read_text(encoding="utf-8"))
"""Numbers, places, texts and structures that no dataset has."""
hostile = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    st.just("9" * 5000),
    *map(st.sampled_from, HOSTILE),
)


@st.composite
def mutated(draw: st.DrawFn, sound: Any) -> Any:
    """Replace, drop, double or add a few parts of a sound document."""
    tree = json.loads(json.dumps(sound))
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(tree))
        if not found:
            return tree
        path = draw(st.sampled_from(found))
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        change = draw(st.sampled_from(["replace", "drop", "double"]))
        if change == "drop":
            del parent[path[-1]]
        elif change == "double" and isinstance(parent, list):
            parent.append(parent[path[-1]])
        else:
            parent[path[-1]] = copy.deepcopy(draw(hostile))
    return tree


@st.composite
def spoiled(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Cut bytes, or put others into them."""
    data = draw(contents)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        put = draw(
            st.sampled_from([b"", b"\0", b"\xff", b'"', b"[" * 3000, b"NaN", b"9" * 5000, b"\n,"])
            | st.binary(max_size=4)
        )
        data = data[:at] + put + data[at + draw(st.integers(0, 3)) :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data


def as_json(tree: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Write documents as JSON, numbers that it does not have included."""
    return spoiled(tree.map(lambda value: json.dumps(value).encode()))


def as_lines(tree: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Write documents as JSON Lines."""
    return spoiled(
        tree.map(lambda rows: "\n".join(map(json.dumps, as_list(rows))).encode()),
    )


def as_list(value: Any) -> list[Any]:
    """Give a list as it is, and anything else as the one thing in a list."""
    return value if isinstance(value, list) else [value]


def looked_at(read: Callable[[], Dataset]) -> Dataset | None:
    """Read a dataset; see that all that came through is sound and in its folder."""
    try:
        dataset = read()
    except DataError as error:
        str(error).encode()
        return None
    dataset_is_sound(dataset)
    return dataset


def dataset_is_sound(dataset: Dataset) -> None:
    """See that labels count the classes, and that no path leads out of the folder."""
    assert dataset.class_names
    for record in (*dataset.train, *dataset.val, *dataset.test):
        assert type(record.label) is int
        assert 0 <= record.label < len(dataset.class_names)
        assert_inside(dataset.source, record)
    for name in dataset.class_names:
        name.encode()


def assert_inside(source: Any, record: Record) -> None:
    """See that a record's file can only be one below the dataset's folder."""
    path = PurePosixPath(record.path)
    assert not path.is_absolute()
    assert ".." not in path.parts
    if isinstance(source, FolderSource):
        with contextlib.suppress(DataError):
            assert source.locate(record.path).is_relative_to(source.root.resolve())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the dataset."""
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "images").mkdir()
    return folder


SPLIT: dict[str, list[list[Any]]] = {
    split: [
        [f"{name}/{split}{n}.jpg", label, name] for label, name in enumerate("ab") for n in "01"
    ]
    for split in ("train", "val", "test")
}


@settings(deadline=None)
@given(as_json(mutated(SPLIT)))
def test_shots_of_any_split_file_are_drawn_or_told(place: Path, content: bytes) -> None:
    folder = place / "root" / "dtd"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / LAYOUTS["dtd"].split).write_bytes(content)
    dataset = looked_at(lambda: load_dataset("dtd", place / "root"))
    if dataset is not None:
        try:
            shots = draw_shots(dataset, shots=1, seed=1)
        except DataError:
            return
        write_shots(shots, place / "shots.jsonl")
        assert read_shots(place / "shots.jsonl") == shots


def paper(place: Path) -> Dataset:
    """A dataset of two classes without files."""
    records: dict[str, tuple[Record, ...]] = {}
    for split, rows in SPLIT.items():
        records[split] = tuple(Record(f"images/{path}", label) for path, label, _ in rows)
    return Dataset("dtd", ("a", "b"), ("{}",), **records, source=FolderSource(place))


ROWS = {
    split: [
        {"impath": f"/data/dtd/images/{path}", "label": label, "classname": name}
        for path, label, name in SPLIT[split][::2]
    ]
    for split in ("train", "val")
}


@settings(deadline=None)
@given(as_json(mutated({split: {"data": rows} for split, rows in ROWS.items()})))
def test_any_published_json_is_read_or_told(place: Path, content: bytes) -> None:
    file = place / "shot_1-seed_1.json"
    file.write_bytes(content)
    try:
        shots = read_published_shots(file, paper(place), shots=1, seed=1)
    except DataError as error:
        str(error).encode()
        return
    known = {record.path for record in (*paper(place).train, *paper(place).val)}
    assert {record.path for record in (*shots.train, *shots.val)} <= known


HEADER = {"dataset": "dtd", "seed": 1, "shots": 1, "digest": "0" * 64}
LINES = [HEADER, *({"label": n, "path": f"a/{n}.jpg", "split": "train"} for n in range(2))]


@settings(deadline=None)
@given(as_lines(mutated(LINES)))
def test_any_file_of_shots_is_read_or_told(place: Path, content: bytes) -> None:
    (place / "own.jsonl").write_bytes(content)
    try:
        read_shots(place / "own.jsonl")
    except DataError as error:
        str(error).encode()


TABLE = [
    {"path": f"{name}/{n}.jpg", "label": label, "class_name": name, "split": split}
    for label, name in enumerate("ab")
    for n, split in enumerate(["train", "train", "test"])
]


@st.composite
def texts(draw: st.DrawFn, delimiter: str) -> str:
    """Write a table as text, some fields quoted, as spreadsheets do."""
    rows = as_list(draw(mutated(TABLE)))
    columns = draw(st.permutations(["path", "label", "class_name", "split"]))
    columns = columns[: draw(st.integers(1, 4))] if draw(st.booleans()) else columns
    head = draw(st.sampled_from([delimiter.join(columns), delimiter.join(columns).upper(), ""]))
    lines = [head if draw(st.integers(0, 9)) == 0 else delimiter.join(columns)]
    for row in rows:
        cells = [str(row.get(c, "") if isinstance(row, dict) else row) for c in columns]
        quoted = draw(st.booleans())
        lines.append(delimiter.join(f'"{cell}"' if quoted else cell for cell in cells))
    return draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines)


@settings(deadline=None)
@given(st.sampled_from([(".csv", ","), (".csv", ";"), (".tsv", "\t")]), st.data())
def test_any_text_table_is_read_or_told(
    place: Path, form: tuple[str, str], data: st.DataObject
) -> None:
    suffix, delimiter = form
    file = place / f"table{suffix}"
    written = texts(delimiter).map(lambda text: text.encode(errors="surrogatepass"))
    file.write_bytes(data.draw(spoiled(written)))
    columns = data.draw(st.none() | st.dictionaries(st.sampled_from(["path", "x"]), st.text()))
    looked_at(lambda: load_dataset("mine", file, options=ReaderOptions(columns=columns)))


def column(values: list[Any]) -> pa.Array:
    """Make a column of whatever it is given, of text where nothing else takes it."""
    try:
        return pa.array(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return pa.array([str(value).encode("utf-8", "replace").decode() for value in values])


odd_columns = st.sampled_from(
    [
        pa.array([0, 1, 2], pa.timestamp("ns")),
        pa.array([2**62, 0, 1], pa.timestamp("ms")),
        pa.array([2**62, 0, 1], pa.duration("s")),
        pa.array([0, 1, None], pa.date64()),
        pa.array([b"\xff\xfe", b"a", None], pa.binary()),
        pa.StringArray.from_buffers(
            3, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"\xff\xfea")
        ),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([{"a": 1}, None, {"a": 2}]),
        pa.array([[1], [], None]),
        pa.array([1.0, float("nan"), 2.0]),
        pa.array([True, False, None]),
        pa.nulls(3),
        pa.array([1, 2, 3], pa.uint64()),
    ]
)


@settings(deadline=None)
@given(st.data())
def test_any_parquet_table_is_read_or_told(place: Path, data: st.DataObject) -> None:
    file = place / "table.parquet"
    rows = [row for row in as_list(data.draw(mutated(TABLE))) if isinstance(row, dict)][:3]
    names = ["path", "label", "class_name", "split"]
    arrays = [column([row.get(name) for row in rows]) for name in names]
    if len(rows) == 3 and data.draw(st.booleans()):
        at = data.draw(st.integers(0, 3))
        arrays[at] = data.draw(odd_columns)
        names[at] = data.draw(st.sampled_from(names) | st.text(st.characters(codec="utf-8")))
    pq.write_table(pa.Table.from_arrays(arrays, names), file)
    if data.draw(st.booleans()):
        content = bytearray(file.read_bytes())
        for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
            content[at] = data.draw(st.integers(0, 255))
        file.write_bytes(content[: data.draw(st.sampled_from([None, None, len(content) // 2]))])
    looked_at(lambda: load_dataset("mine", file))


WORDS = [
    "n01440764 tench",
    "n01443537 goldfish",
    "",
    "n01484850",
    "  x  y  ",
    "\ufeffa b",
    "a\0b c",
]
lines = st.lists(st.sampled_from(WORDS) | st.text(max_size=12), max_size=5).map("\n".join)


@settings(deadline=None)
@given(spoiled(lines.map(lambda text: text.encode(errors="surrogatepass"))))
def test_any_list_of_class_names_is_read_or_told(place: Path, content: bytes) -> None:
    (place / "classnames.txt").write_bytes(content)
    try:
        read_class_names(place / "classnames.txt")
    except DataError as error:
        str(error).encode()
