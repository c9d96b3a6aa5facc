"""A group has one colour, in every chart and every study."""

from study.config.labels import GROUPS
from study.report.groups import group_colors
from study.results.trial_results import OPEN


def test_the_groups_of_every_search_are_told_apart_and_none_is_without_a_colour():
    colors = group_colors([*GROUPS, "full", "lora", "mine"])
    assert len(set(colors.values())) == len(colors) == 6
    assert len(group_colors(f"group {n}" for n in range(30))) == 30


def test_an_group_keeps_its_colour_whatever_others_there_are():
    assert group_colors([OPEN])[OPEN] == group_colors(["a", "b", *GROUPS])[OPEN]
