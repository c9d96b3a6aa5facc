"""Whatever stands in a split file or table: a dataset inside its folder, or one error."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.data.datasets import load_dataset
from study.data.readers.benchmarks import LAYOUTS
from study.data.records import Dataset
from study.data.shots import draw_shots, read_shots, write_shots

from .conftest import few_cases, study_errors_allowed

pytestmark = pytest.mark.timeout(1800)

HOSTILE: tuple[Any, ...] = (
    *(10**30, 2**63, 1e308, "²", "٣", "-0", "1.0", "1e3", " 1 ", "9" * 5000),
    *("../x.jpg", "/etc/passwd", "C:\\x.jpg", "a/../../x", "\\\\host\\x", ".", ""),
    *("\ud800", "\0", "a\nb", "é🐈\u202e", "x" * 300, "\ufeff", "'\"<b>", "{}"),
    *([], {}, [[]], {"a": 1}, ["a", 0, "b"], [["a", 0, "b"]] * 3),
)
"""Numbers, places, texts and structures that no dataset has."""
hostile = (
    st.sampled_from(HOSTILE)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a document."""
    inner = enumerate(tree) if isinstance(tree, list) else ()
    for key, value in tree.items() if isinstance(tree, dict) else inner:
        yield (*path, key)
        yield from places(value, (*path, key))


@st.composite
def mutated(draw: st.DrawFn, sound: Any) -> Any:
    """Replace, drop, double or add a few parts of a sound document."""
    tree = copy.deepcopy(sound)
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(tree))
        if not found:
            break
        *above, last = draw(st.sampled_from(found))
        parent = tree
        for key in above:
            parent = parent[key]
        change = draw(st.sampled_from(["replace", "drop", "double"]))
        if change == "drop":
            del parent[last]
        elif change == "double" and isinstance(parent, list):
            parent.append(parent[last])
        else:
            parent[last] = copy.deepcopy(draw(hostile))
    return tree


@st.composite
def spoiled(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Cut bytes, or put others into them."""
    data = draw(contents)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        odd = [b"", b"\0", b"\xff", b'"', b"[" * 3000, b"NaN", b"9" * 5000, b"\n,"]
        put = draw(st.sampled_from(odd) | st.binary(max_size=4))
        data = data[:at] + put + data[at + draw(st.sampled_from([0, 1, 3, len(data)])) :]
    return data


def check_sound(dataset: Dataset):
    """See that labels count the classes, and that no path leads out of the folder."""
    assert dataset.class_names
    for record in dataset.train + dataset.val + dataset.test:
        assert type(record.label) is int
        assert 0 <= record.label < len(dataset.class_names)
        path = PurePosixPath(record.path)
        assert not path.is_absolute()
        assert ".." not in path.parts
    "".join(dataset.class_names).encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the dataset."""
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "dtd" / "images").mkdir(parents=True)
    return folder


SPLIT: dict[str, list[list[Any]]] = {
    split: [
        [f"{name}/{split}{n}.jpg", label, name] for label, name in enumerate("ab") for n in "01"
    ]
    for split in ("train", "val", "test")
}


@few_cases()
@given(spoiled(mutated(SPLIT).map(lambda tree: json.dumps(tree).encode())))
def test_shots_of_any_split_file_are_drawn_or_reported(place: Path, content: bytes):
    (place / "dtd" / LAYOUTS["dtd"].split).write_bytes(content)
    with study_errors_allowed():
        dataset = load_dataset("dtd", place)
        check_sound(dataset)
        shots = draw_shots(dataset, shots=1, seed=1)
        write_shots(shots, place / "shots.jsonl")
        assert read_shots(place / "shots.jsonl") == shots


COLUMNS = ["path", "label", "class_name", "split"]
TABLE = [
    [f"{name}/{n}.jpg", label, name, split]
    for label, name in enumerate("ab")
    for n, split in enumerate(["train", "train", "test"])
]


@st.composite
def texts(draw: st.DrawFn, delimiter: str) -> bytes:
    """Write a table as text, some rows quoted, as spreadsheets do."""
    lines = [delimiter.join(draw(st.permutations(COLUMNS)))]
    for row in draw(mutated(TABLE)):
        cells = [*map(str, row if isinstance(row, list) else [row])]
        if draw(st.booleans()):
            cells = [f'"{cell}"' for cell in cells]
        lines.append(delimiter.join(cells))
    return draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines).encode(errors="surrogatepass")


@few_cases()
@given(st.sampled_from([(".csv", ","), (".csv", ";"), (".tsv", "\t")]), st.data())
def test_any_text_table_is_read_or_reported(
    place: Path, form: tuple[str, str], data: st.DataObject
):
    suffix, delimiter = form
    (place / f"table{suffix}").write_bytes(data.draw(spoiled(texts(delimiter))))
    with study_errors_allowed():
        check_sound(load_dataset("mine", place / f"table{suffix}"))


"""Columns that a table may have in the place of any of its own."""
