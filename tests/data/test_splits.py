from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.data.records import Record
from study.data.splits import (
    apart_from,
    check_splits,
    deal,
    find_groups,
    fixed_split,
    refuse_shared_groups,
)
from study.errors import DataError


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


def bursts(*classes: int, of: int = 4) -> tuple[Record, ...]:
    """Give the images of some bursts a class; those of class 2 are of the bursts of class 1 too."""
    records = []
    for label, groups in enumerate(classes):
        for group in range(groups):
            name = f"{min(label, 1)}/{group}"
            records += [Record(f"{label}/{name}/{i}", label, name) for i in range(of)]
    return tuple(records)


@given(st.lists(st.integers(3, 30), min_size=1, max_size=3), st.permutations(range(8)))
def test_a_split_by_groups_has_none_on_two_sides_and_every_class_on_both(
    classes: list[int], order: list[int]
) -> None:
    records = bursts(*classes)
    names = [*map(str, classes)]
    train, val, test = fixed_split(records, names, key="k")
    assert Counter((*train, *val, *test)) == Counter(records)
    refuse_shared_groups(train, val, test, where="x")
    for part in (train, test):
        assert {record.label for record in part} == {*range(len(classes))}
    shuffled = [records[i] for i in order] + [*records[8:]]
    assert fixed_split(shuffled, names, key="k") == (train, val, test)


def test_groups_are_split_about_half_and_three_tenths() -> None:
    train, val, test = fixed_split(bursts(20, 10), ["a", "b"], key="k")
    assert [*map(len, (train, val, test))] == [60, 24, 36]


def test_a_class_of_one_group_is_named_with_what_is_allowed() -> None:
    told = r"not of 'lonely', with groups '1/0'; allowed are classes of 2 groups or more"
    with pytest.raises(DataError, match=told):
        fixed_split(bursts(2, 1), ["x", "lonely"], key="k")


def test_a_group_on_two_sides_of_a_given_split_is_named_with_its_images() -> None:
    first, second, *_ = bursts(1)
    with pytest.raises(DataError, match=r"x: 1 groups are .* 0/0/0/0 in train and 0/0/0/1 in test"):
        refuse_shared_groups([first], [], [second], where="x")
    plain = Record("a", 0)
    refuse_shared_groups([plain], [plain], [plain], where="x")


@pytest.mark.parametrize(
    ("pattern", "group"), [(r"^(p\d+)_", "p12"), (r"p\d+(?=_)", "p12"), (r"(\w+)/(\w+)_", "cat")]
)
def test_the_group_is_the_first_capture_or_the_whole_match(pattern: str, group: str) -> None:
    path = "cat/p12_3.jpg" if "/" in pattern else "p12_3.jpg"
    (record,) = find_groups((Record(path, 0),), pattern, where="x")
    assert (record, record.group) == (Record(path, 0), group)


@pytest.mark.parametrize("pattern", ["^cat", "^(x?)", "(dog)?"])
def test_images_without_a_group_are_named_and_counted(pattern: str) -> None:
    records = (Record("dog/1.jpg", 0), Record("fox/1.jpg", 1))
    with pytest.raises(DataError, match=r"finds no group in the paths of \d of 2 .*'fox/1.jpg'"):
        find_groups(records, pattern, where="x")


def test_no_pattern_leaves_images_as_they_are() -> None:
    records = bursts(1)
    assert find_groups(records, None, where="x") is records


def test_groups_are_dealt_evenly_whatever_classes_they_have_in_common() -> None:
    records = bursts(1, 8, 8)
    dealt = Counter(deal(records, (0.25,) * 4, "k"))
    assert dealt == {0: 20, 1: 16, 2: 16, 3: 16}


def test_images_of_other_groups_are_apart() -> None:
    records = bursts(2)
    assert apart_from(records, records[:1]) == records[4:]
    plain = (Record("a", 0), Record("b", 0))
    assert apart_from(plain, plain) == plain
