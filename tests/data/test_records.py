from pathlib import Path

import pytest
import yaml

from study.data.records import (
    class_table,
    keyed_order,
    listed,
    relative_path,
    result_names,
)
from study.errors import DataError
from tests.case_tables import from_table


def test_an_order_is_pinned_so_that_it_is_the_same_on_every_platform():
    assert keyed_order("abcdefgh", "key") == list("gdabfehc")
    assert keyed_order("abcdefgh", "other") != keyed_order("abcdefgh", "key")


@from_table
def test_a_path_that_leaves_the_folder_is_refused(path: str):
    with pytest.raises(DataError, match="not inside"):
        relative_path(path, where="split.json")


@from_table
def test_a_path_inside_the_folder_is_written_one_way(path: str, clean: str):
    assert relative_path(path, where="x") == clean


CASES = yaml.safe_load(Path(__file__).with_name("unsound_classes.yaml").read_text())


@pytest.mark.parametrize("pairs, told", CASES)
def test_unsound_classes_are_refused(pairs: list[tuple[int, str]], told: str):
    with pytest.raises(DataError, match=told):
        class_table(pairs, where="x")


def test_repeated_names_have_numbers_in_results_that_no_other_class_has():
    names = ("sun (2)", "sun", "moon", "sun", "sun")
    assert result_names(names) == ("sun (2)", "sun", "moon", "sun (3)", "sun (4)")


def test_a_long_list_is_cut_and_counted():
    assert listed(range(8)) == "0, 1, 2, 3, 4 and 3 more"
