import random
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

names = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=20)


@given(names, st.randoms(use_true_random=False))
def test_an_order_does_not_depend_on_the_order_given(
    paths: list[str], chance: random.Random
) -> None:
    shuffled = list(paths)
    chance.shuffle(shuffled)
    assert keyed_order(paths, "k") == keyed_order(shuffled, "k")


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


def test_an_image_listed_twice_is_named() -> None:
    one, two = Record("a.jpg", 0), Record("b.jpg", 0)
    check_splits([one], [], [two], where="x")
    with pytest.raises(DataError, match=r"listed twice in train: 'a\.jpg'"):
        check_splits([one, one], [], [two], where="x")
    with pytest.raises(DataError, match=r"in both train and test: 'a\.jpg'"):
        check_splits([one], [two], [one], where="x")
    with pytest.raises(DataError, match="in both val and test"):
        check_splits([one], [two], [Record("b.jpg", 1)], where="x")


@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.booleans())
def test_a_fixed_split_uses_every_image_once_and_trains_and_tests_every_class(
    sizes: list[int], val: bool
) -> None:
    records = [Record(f"{c}/{i}", c) for c, size in enumerate(sizes) for i in range(size)]
    parts = fixed_split(records, [f"c{i}" for i in range(len(sizes))], key="k", val=val)
    assert Counter(r for part in parts for r in part) == Counter(records)
    for part in (parts[0], parts[2]):
        assert {r.label for r in part} == set(range(len(sizes)))
    assert val or not parts[1]


def test_a_fixed_split_has_the_fields_proportions() -> None:
    records = [Record(f"{i}", 0) for i in range(100)]
    assert [len(p) for p in fixed_split(records, ["c"], key="k")] == [50, 20, 30]
    assert [len(p) for p in fixed_split(records, ["c"], key="k", val=False)] == [50, 0, 50]


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"'lonely' \(1\)"):
        fixed_split([Record("a", 0), Record("b", 0), Record("c", 1)], ["x", "lonely"], key="k")


def test_a_long_list_is_cut_and_counted() -> None:
    assert listed(range(8)) == "0, 1, 2, 3, 4 and 3 more"
