"""Who proposes the trials of a search, and how many each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.config.loading import build_config
from study.search.groups import Group, plan_groups, sobol_point
from study.storage.study_folder import StudyFolder
from tests.settings import FEW, study_of

from .conftest import CLIPFIT, METHODS

RANGES = {"bias_lr": (1e-4, 0.1), "ln_lr": (1e-3, 1.0), "distill_weight": (0.25, 16.0)}


def groups_of(seed: int = 1, **search: Any) -> dict[str, Group]:
    config = build_config({"seed": seed, "search": search}, "test")
    return {group.name: group for group in plan_groups(study_of(config, StudyFolder(Path())))}


def proposals(group: Group) -> list[Any]:
    """All that a group proposes, each trial being recorded."""
    found = []
    while group.started < group.planned:
        found.append(group.propose(group.started, 0))
        group.started += 1
    return found


def test_a_point_depends_on_the_seed_and_its_index_alone():
    points = [sobol_point("1/a", index, RANGES) for index in range(40)]
    assert [sobol_point("1/a", index, RANGES) for index in (39, 0, 17)] == [
        points[index] for index in (39, 0, 17)
    ]
    assert len({tuple(point.values()) for point in points}) == 40
    assert sobol_point("2/a", 0, RANGES) != points[0]


@pytest.mark.parametrize("count", [1, 3])
def test_points_are_spread_evenly_over_the_logarithms_of_their_ranges(count: int):
    ranges = dict([*RANGES.items()][:count])
    points = [sobol_point("1/a", index, ranges) for index in range(64)]
    for name, (low, high) in ranges.items():
        shares = np.log([point[name] / low for point in points]) / np.log(high / low)
        assert np.histogram(shares, bins=8, range=(0, 1))[0].tolist() == [8] * 8


@pytest.mark.parametrize(
    "search, planned",
    [
        ({}, {"clipfit-tuned": 12, "search": 32}),
        ({"trials": 17}, {"clipfit-tuned": 5, "search": 8}),
        ({"trials": 10, "baselines": FEW}, {"clipfit-tuned": 3, "search": 5}),
        (
            {"baselines": METHODS, "method_trials": 3},
            {"clipfit-tuned": 12, "search": 32, "full": 3, "projection": 3},
        ),
    ],
)
def test_a_quarter_tunes_clipfit_and_other_methods_stand_beside_the_trials(
    search: dict[str, Any], planned: dict[str, int]
):
    groups = groups_of(**search)
    assert {name: group.planned for name, group in groups.items()} == planned


def test_each_group_proposes_what_it_is_for():
    space = {"rates": {"bias": (0.001, 0.1), "ln": (0.002, 0.2)}, "distill_weight": (0.5, 4)}
    groups = groups_of(baselines=METHODS, space=space)
    for settings in proposals(groups["clipfit-tuned"]):
        assert (settings.subset, settings.method, settings.head) == (CLIPFIT, None, None)
        assert 0.001 <= settings.rates["bias"] <= 0.1
        assert 0.002 <= settings.rates["ln"] <= 0.2
        assert 0.5 <= settings.distill_weight <= 4
    assert len({settings.subset for settings in proposals(groups["search"])}) > 20
    for name, method in METHODS.items():
        for settings in proposals(groups[name]):
            assert (settings.subset, settings.method.method) == ("none", name)
            assert method["lr"][0] <= settings.method.lr <= method["lr"][1]


def test_an_extended_plan_goes_on_where_the_shorter_one_ended():
    shorter = groups_of(trials=24, method_trials=3, baselines=METHODS)
    longer = groups_of(trials=48, method_trials=6, baselines=METHODS)
    other = groups_of(2, trials=24, method_trials=3, baselines=METHODS)
    for name, group in shorter.items():
        first = proposals(group)
        assert proposals(longer[name])[: len(first)] == first
        assert proposals(other[name]) != first
