import pytest

from study.data.records import (
    class_table,
    keyed_order,
    listed,
    relative_path,
    result_names,
)
from study.errors import DataError


def test_an_order_is_pinned_so_that_it_is_the_same_on_every_platform():
    assert keyed_order("abcdefgh", "key") == list("gdabfehc")
    assert keyed_order("abcdefgh", "other") != keyed_order("abcdefgh", "key")


@pytest.mark.parametrize(
    "path",
    ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", r"C:\x.jpg", r"a\..\x.jpg", "", ".", "a\0.jpg"],
)
def test_a_path_that_leaves_the_folder_is_refused(path: str):
    with pytest.raises(DataError, match="not inside"):
        relative_path(path, where="split.json")


def test_a_path_inside_the_folder_is_written_one_way():
    for path in ("a..b/c.jpg", "./a..b/c.jpg", r"a..b\c.jpg"):
        assert relative_path(path, where="x") == "a..b/c.jpg"


@pytest.mark.parametrize(
    "pairs, message",
    [
        ([(0, "a"), (0, "b")], "label 0 has two class names, 'a' and 'b'"),
        ([(0, "a"), (1, "a")], "class names 'a' and 'a' of labels 0 and 1 are the same"),
        ([(0, "a b"), (1, "a_b")], "class names 'a b' and 'a_b' of labels 0 and 1 are the same"),
        ([(0, "a"), (2, "c"), (4, "d")], "without 1"),
        ([(-1, "a"), (0, "b")], "got -1"),
        ([(0, " ")], "empty class name"),
        ([], "got none"),
    ],
)
def test_unsound_classes_are_refused(pairs: list[tuple[int, str]], message: str):
    with pytest.raises(DataError, match=message):
        class_table(pairs, where="x")


def test_a_long_list_is_cut_and_counted():
    assert listed(range(8)) == "0, 1, 2, 3, 4 and 3 more"


def test_repeated_names_have_numbers_in_results_that_no_other_class_has():
    names = ("sun (2)", "sun", "moon", "sun", "sun")
    assert result_names(names) == ("sun (2)", "sun", "moon", "sun (3)", "sun (4)")
