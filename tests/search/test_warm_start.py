"""A search asks first for what did best in another study; what it learns is its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.backbones.architecture import Depths
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.search.optuna_arm import Arm, Outcome, open_arm
from study.search.samplers import random, tpe
from study.search.space import OpenSpace, RateSpace

MakeArm = Callable[..., Arm]


@pytest.fixture
def open_in(tmp_path: Path) -> MakeArm:
    """Open the arm "search" of a journal."""

    def make(journal: str, layers: int = 3, **space: Any) -> Arm:
        open_space = OpenSpace(SpaceConfig(**space), Depths(text=layers, vision=layers))
        return open_arm(
            tmp_path / journal,
            "search",
            budget=12,
            space=open_space,
            sampler=random,
            seed=len(journal),
        )

    return make


def search(arm: Arm, count: int, first_score: float) -> list[TrialSettings]:
    """Try some configurations; the later, the better."""
    proposals = []
    for index in range(count):
        asked = arm.ask(lambda proposal: None)
        assert asked is not None
        arm.tell(asked[0], Outcome(first_score + index / 100, TrialState.COMPLETE))
        proposals.append(asked[1])
    return proposals


def test_the_best_of_another_study_are_tried_first_and_best_first(
    open_in: MakeArm, tmp_path: Path
) -> None:
    others = search(open_in("other"), 6, 0.9)
    arm = open_in("mine")
    assert arm.enqueue_best_of(tmp_path / "other") == 3, "a quarter of the budget"
    asked = [arm.ask(lambda proposal: None) for _ in range(4)]
    proposals = [a[1] for a in asked if a is not None]
    assert proposals[:3] == others[:2:-1]
    assert proposals[3] not in others


def test_scores_of_another_dataset_are_not_learned_from(open_in: MakeArm, tmp_path: Path) -> None:
    search(open_in("other"), 6, 0.9)
    arm = open_in("mine")
    arm.enqueue_best_of(tmp_path / "other")
    assert {trial.value for trial in arm.study.trials} == {None}


def test_going_on_with_a_study_does_not_ask_again(open_in: MakeArm, tmp_path: Path) -> None:
    search(open_in("other"), 6, 0.9)
    arm = open_in("mine")
    arm.enqueue_best_of(tmp_path / "other")
    search(arm, 5, 0.1)
    assert open_in("mine").enqueue_best_of(tmp_path / "other") == 0


def test_what_this_space_does_not_have_is_left_out(open_in: MakeArm, tmp_path: Path) -> None:
    search(open_in("other"), 6, 0.9)
    assert open_in("fewer", sites=("vision.ln1",)).enqueue_best_of(tmp_path / "other") == 0
    rates = {"bias": (9.0, 9.5), "ln": (9.0, 9.5)}
    assert open_in("narrow", rates=rates).enqueue_best_of(tmp_path / "other") == 0


def test_layers_that_a_smaller_backbone_lacks_are_left_out(
    open_in: MakeArm, tmp_path: Path
) -> None:
    deep = open_in("other", layers=12)
    search(deep, 12, 0.5)
    arm = open_in("mine", layers=2)
    arm.enqueue_best_of(tmp_path / "other")
    for trial in arm.study.get_trials():
        windows = {
            k: v
            for k, v in trial.system_attrs["fixed_params"].items()
            if ".from" in k or ".to" in k
        }
        assert all(value < 2 for value in windows.values())


def test_a_study_without_this_arm_gives_nothing(open_in: MakeArm, tmp_path: Path) -> None:
    search(open_in("other"), 3, 0.5)
    space = RateSpace(SpaceConfig(), Depths(3, 3), "clipfit")
    tuned = open_arm(tmp_path / "mine", "clipfit-tuned", budget=8, space=space, sampler=tpe, seed=1)
    assert tuned.enqueue_best_of(tmp_path / "other") == 0
