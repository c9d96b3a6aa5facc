from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from study.data.records import (
    Record,
    check_splits,
    class_table,
    fixed_split,
    keyed_order,
    listed,
    relative_path,
)
from study.errors import DataError


def test_an_order_is_pinned_so_that_it_is_the_same_on_every_platform() -> None:
    assert keyed_order("abcdefgh", "key") == list("gdabfehc")
    assert keyed_order("abcdefgh", "other") != keyed_order("abcdefgh", "key")


@pytest.mark.parametrize(
    "path",
    ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "C:\\x.jpg", "a\\..\\x.jpg", "", ".", "a\0.jpg"],
)
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(DataError, match="not inside"):
        relative_path(path, where="split.json")


@pytest.mark.parametrize(
    ("path", "clean"), [("./a/b.jpg", "a/b.jpg"), ("a\\b.jpg", "a/b.jpg"), ("a..b/c.jpg",) * 2]
)
def test_a_path_inside_the_folder_is_written_one_way(path: str, clean: str) -> None:
    assert relative_path(path, where="x") == clean


CASES = yaml.safe_load(Path(__file__).with_name("unsound_classes.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("pairs", "told"), CASES)
def test_unsound_classes_are_refused(pairs: list[tuple[int, str]], told: str) -> None:
    with pytest.raises(DataError, match=told):
        class_table(pairs, where="x")


@pytest.mark.parametrize(
    ("train", "val", "test", "told"),
    [
        ("aa", "", "b", "listed twice in train: 'a'"),
        ("a", "b", "a", "in both train and test: 'a'"),
        ("a", "b", "b", "in both val and test"),
    ],
)
def test_an_image_listed_twice_is_named(train: str, val: str, test: str, told: str) -> None:
    def records(paths: str) -> list[Record]:
        return [Record(path, 0) for path in paths]

    with pytest.raises(DataError, match=told):
        check_splits(records(train), records(val), records(test), where="x")


@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.booleans())
def test_a_fixed_split_uses_every_image_once_and_trains_and_tests_every_class(
    sizes: list[int], val: bool
) -> None:
    records = [Record(f"{c}/{i}", c) for c, size in enumerate(sizes) for i in range(size)]
    train, rest, test = fixed_split(records, [*map(str, sizes)], key="k", val=val)
    assert Counter((*train, *rest, *test)) == Counter(records)
    for part in (train, test):
        assert {record.label for record in part} == {*range(len(sizes))}
    assert val or not rest


@pytest.mark.parametrize(("val", "sizes"), [(True, [50, 20, 30]), (False, [50, 0, 50])])
def test_a_fixed_split_has_the_fields_proportions(val: bool, sizes: list[int]) -> None:
    records = [Record(f"{i}", 0) for i in range(100)]
    assert [*map(len, fixed_split(records, ["c"], key="k", val=val))] == sizes


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"'lonely' \(1\)"):
        fixed_split([Record("a", 0), Record("b", 0), Record("c", 1)], ["x", "lonely"], key="k")


def test_a_long_list_is_cut_and_counted() -> None:
    assert listed(range(8)) == "0, 1, 2, 3, 4 and 3 more"
