"""An arm has one colour, in every chart and every study."""

from study.config.labels import ARMS
from study.report.arms import arm_colors
from study.results.trial_results import SEARCH_ARM


def test_the_arms_of_every_search_are_told_apart_and_none_is_without_a_colour():
    colors = arm_colors([*ARMS, "full", "lora", "mine"])
    assert len(set(colors.values())) == len(colors) == 6
    assert len(arm_colors(f"arm {n}" for n in range(30))) == 30


def test_an_arm_keeps_its_colour_whatever_others_there_are():
    assert arm_colors([SEARCH_ARM])[SEARCH_ARM] == arm_colors(["a", "b", *ARMS])[SEARCH_ARM]
