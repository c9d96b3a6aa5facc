"""A search against a recorded world: it is that of a study, and the world answers alike."""

import math
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from study.config.trial_settings import TrialSettings
from study.search.space import OpenSpace
from tests.benchmarks.search.replayed_search import replay
from tests.benchmarks.search.world import Row, World
from tests.tiny_study import TinyStudy

EPOCHS = 4


@pytest.fixture
def study(make_study: Callable[..., TinyStudy]) -> TinyStudy:
    asha = {"grace_period": 3, "reduction_factor": 3}
    space = {"heads": ["text"], "neighbours": False}
    return make_study("replayed", search={"trials": 20, "asha": asha, "space": space})


@pytest.fixture
def world(study: TinyStudy) -> World:
    """A world whose scores are best at one rate of LayerNorms, and the same for all biases."""
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = OpenSpace(study.config.search.space, study.architecture.depths)
    rows = []
    for _ in range(120):
        settings = space.suggest(asked.ask())
        rate = settings.rates.get("ln")
        last = 0.5 if rate is None else 0.9 - 0.2 * abs(math.log10(rate) + 2)
        curve = [last - 0.1 * (EPOCHS - epoch) for epoch in range(1, EPOCHS + 1)]
        folds = [[value - 0.02, value + 0.01, value + 0.01] for value in curve]
        rows.append(Row("random", settings, curve, folds, [last - 0.1, last - 0.1]))
    nothing = TrialSettings(subset="none")
    rows.append(Row("baselines", nothing, [0.5], [[0.48, 0.51, 0.51]], [0.4, 0.4]))
    return World(rows, study.architecture.depths)


def test_a_world_is_read_as_it_was_written(world: World, tmp_path: Path) -> None:
    world.write(tmp_path / "world.parquet")
    again = World.read(tmp_path / "world.parquet", world.depths)
    assert [row.settings for row in again.rows] == [row.settings for row in world.rows]
    assert again.rows[7].validation == pytest.approx(world.rows[7].validation)
    assert again.rows[7].folds[2] == pytest.approx(world.rows[7].folds[2])


def test_a_world_answers_alike_and_for_what_was_not_recorded(world: World) -> None:
    good, poor = (TrialSettings(subset="vision.ln", rates={"ln": rate}) for rate in (0.01, 0.15))
    first = world.ask(good, 1)
    assert world.ask(good, 1) == first
    assert len(first.validation) == EPOCHS
    assert {world.ask(good, seed).test for seed in range(9)} == {first.test}
    assert len({world.ask(good, seed).validation[-1] for seed in range(9)}) > 1, "noise"
    assert first.test > world.ask(poor, 1).test + 0.05
    assert min(world.held_out) > 0.8
    assert world.best == pytest.approx(0.8, abs=0.05)


def test_a_replayed_search_is_that_of_a_study(world: World, study: TinyStudy) -> None:
    config = study.config
    steps = replay(world, config, study.data)
    # Beside the 20 trials a peer; no variant, as heads of text at strength 1 are judged anyway.
    assert [step.trials for step in steps] == [*range(1, 22)]
    assert [step.epochs for step in steps] == sorted(step.epochs for step in steps)
    assert replay(world, config, study.data) == steps
    search = config.search.model_copy(update={"asha": None})
    every = replay(world, config.model_copy(update={"search": search}), study.data)
    # Two of the trials tune nothing: CLIP as it is, and a linear head on it.
    assert every[-1].epochs == EPOCHS * 19 > steps[-1].epochs
    assert abs(world.best - every[-1].test) < 0.1


def test_variants_are_chosen_from_in_the_end(world: World, study: TinyStudy) -> None:
    confirm = study.config.confirm.model_copy(update={"strength": 0.5})
    steps = replay(world, study.config.model_copy(update={"confirm": confirm}), study.data)
    assert len(steps) > 21
    assert steps[-1].epochs - steps[20].epochs == EPOCHS * (len(steps) - 21)
