from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.data.records import Record, Splits
from study.data.splits import find_groups, fixed_split, refuse_shared_groups
from study.errors import DataError


@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.booleans())
def test_a_fixed_split_uses_every_image_once_and_trains_and_tests_every_class(
    sizes: list[int], val: bool
):
    records = [Record(f"{c}/{i}", c) for c, size in enumerate(sizes) for i in range(size)]
    train, rest, test = fixed_split(records, [*map(str, sizes)], key="k", val=val)
    assert Counter((*train, *rest, *test)) == Counter(records)
    for part in (train, test):
        assert {record.label for record in part} == {*range(len(sizes))}
    assert val or not rest


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
):
    records = bursts(*classes)
    names = [*map(str, classes)]
    train, val, test = fixed_split(records, names, key="k")
    assert Counter((*train, *val, *test)) == Counter(records)
    refuse_shared_groups(Splits(train, val, test), where="x")
    for part in (train, test):
        assert {record.label for record in part} == {*range(len(classes))}
    shuffled = [records[i] for i in order] + [*records[8:]]
    assert fixed_split(shuffled, names, key="k") == (train, val, test)


def test_a_class_of_one_image_or_of_one_group_is_named_with_what_is_allowed():
    with pytest.raises(DataError, match=r"'lonely' \(1\)"):
        fixed_split([Record("a", 0), Record("b", 0), Record("c", 1)], ["x", "lonely"], key="k")
    message = r"not of 'lonely', with groups '1/0'; expected classes of 2 groups or more"
    with pytest.raises(DataError, match=message):
        fixed_split(bursts(2, 1), ["x", "lonely"], key="k")


@pytest.mark.parametrize("pattern", [r"/(p\d+)(_)", r"p\d+(?=_)"])
def test_the_group_is_the_first_capture_or_the_whole_match(pattern: str):
    (record,) = find_groups((Record("cat/p12_3.jpg", 0),), pattern, where="x")
    assert (record, record.group) == (Record("cat/p12_3.jpg", 0), "p12")


@pytest.mark.parametrize("pattern", ["^cat", "^(x?)", "(dog)?"])
def test_images_without_a_group_are_named_and_counted(pattern: str):
    records = (Record("dog/1.jpg", 0), Record("fox/1.jpg", 1))
    with pytest.raises(DataError, match=r"finds no group in the paths of \d of 2 .*'fox/1.jpg'"):
        find_groups(records, pattern, where="x")
