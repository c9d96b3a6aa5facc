"""What suits the images that there are."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from study.commands.suited_values import LONGEST, SHORTEST, describe_images, suited_plans
from study.data.images.sources import FolderSource
from study.data.records import Dataset, Record
from tests.case_tables import from_table

CASES = yaml.safe_load(Path(__file__).with_name("suited_values.yaml").read_text())


def make_dataset(train: list[int], val: list[int], path: str = "{}") -> Dataset:
    splits: list[Any] = []
    for split in (train, val, train):
        records = []
        for label, count in enumerate(split):
            records += [Record(path.format(number, len(splits)), label) for number in range(count)]
        splits.append(tuple(records))
    names = tuple(map(str, range(len(train))))
    return Dataset("pets", names, (), splits[0], splits[1], splits[2], FolderSource(Path()))


@pytest.mark.parametrize("train, val, suited", CASES)
def test_shots_are_those_that_the_smallest_class_has(
    train: list[int], val: list[int], suited: dict[str, Any]
):
    base, choices = next(suited_plans(make_dataset(train, val), "any"))
    of_images = {key: choices[key][0] for key in choices if key.startswith(("data", "training.b"))}
    assert (base, of_images) == ("photos", suited)


def test_more_classes_have_more_minutes_and_the_last_plan_searches_nothing():
    minutes = []
    for classes in (2, 10, 1000):
        first, *_, last = suited_plans(make_dataset([20] * classes, []), "any")
        minutes.append(first[1]["search.minutes"][0])
        assert last[1]["search.trials"][0] == 0
    assert minutes[0] >= SHORTEST
    assert [*dict.fromkeys(minutes)] == sorted(minutes)
    assert minutes[-1] == LONGEST


@from_table
def test_series_are_seen_by_names(path: str, told: bool):
    assert ("data.groups" in describe_images(make_dataset([5], [], path))) == told
