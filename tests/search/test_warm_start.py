"""A search asks first for what did best in another study; what it learns is its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.backbones.architecture import Depths
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.search.optuna_arm import Arm, Outcome
from study.search.space import OpenSpace, RateSpace

from .conftest import CLIPFIT, DEPTHS, ask, search_arm

OpenIn = Callable[..., Arm]


@pytest.fixture
def open_in(tmp_path: Path) -> OpenIn:
    """Open the arm "search" of a journal."""

    def make(journal: str, layers: int = 3, **space: Any) -> Arm:
        own = OpenSpace(SpaceConfig(**space), Depths(text=layers, vision=layers))
        return search_arm(tmp_path / journal, space=own, seed=len(journal), budget=12)

    return make


def search(arm: Arm, count: int, first_score: float) -> list[TrialSettings]:
    """Try some configurations; the later, the better."""
    proposals = []
    for index in range(count):
        number, proposal = ask(arm)
        arm.tell(number, Outcome(first_score + index / 100, TrialState.COMPLETE))
        proposals.append(proposal)
    return proposals


def test_the_best_of_another_study_are_tried_once_and_best_first_without_their_scores(
    open_in: OpenIn, tmp_path: Path
):
    others = search(open_in("other"), 6, 0.9)
    arm = open_in("mine")
    assert arm.enqueue_best_of(tmp_path / "other") == 3, "a quarter of the budget"
    assert {trial.value for trial in arm.trials} == {None}
    proposals = search(arm, 4, 0.1)
    assert proposals[:3] == others[:2:-1]
    assert proposals[3] not in others
    assert open_in("mine").enqueue_best_of(tmp_path / "other") == 0


def test_what_this_space_or_the_other_study_does_not_have_is_left_out(
    open_in: OpenIn, tmp_path: Path
):
    search(open_in("other"), 6, 0.9)
    fewer = open_in("fewer", sites=("vision.ln1",))
    narrow = open_in("narrow", rates={"bias": (9.0, 9.5), "ln": (9.0, 9.5)})
    space = RateSpace(SpaceConfig(), DEPTHS, CLIPFIT)
    tuned = search_arm(tmp_path / "mine", "clipfit-tuned", space=space)
    for arm in (fewer, narrow, tuned):
        assert arm.enqueue_best_of(tmp_path / "other") == 0


def test_layers_that_a_smaller_backbone_lacks_are_left_out(open_in: OpenIn, tmp_path: Path):
    search(open_in("other", layers=12), 12, 0.5)
    arm = open_in("mine", layers=2)
    arm.enqueue_best_of(tmp_path / "other")
    for trial in arm.trials:
        for name, value in trial.system_attrs["fixed_params"].items():
            assert value < 2 or not name.endswith((".from", ".to"))
