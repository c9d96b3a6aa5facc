"""A search against a recorded world: it is that of a study, and the world answers alike."""

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest

from study.config.trial_settings import TrialSettings
from study.search.space import OpenSpace
from tests.tiny_study import TinyStudy

EPOCHS = 4
FOLDS = 3


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    names = ("replay_world", "replay_search", "replay")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield {name: importlib.import_module(name) for name in names}
    for name in (*names, "paired"):
        sys.modules.pop(name, None)


@pytest.fixture
def study(make_study: Callable[..., TinyStudy]) -> TinyStudy:
    asha = {"grace_period": 3, "reduction_factor": 3}
    space = {"heads": ["text"], "neighbours": False}
    return make_study("replayed", search={"trials": 20, "asha": asha, "space": space})


def score(settings: TrialSettings) -> float:
    """A validation score that is best at one rate of LayerNorms, and the same for all biases."""
    rate = settings.rates.get("ln")
    return 0.5 if rate is None else 0.9 - 0.2 * abs(math.log10(rate) + 2)


@pytest.fixture
def world(modules: dict[str, ModuleType], study: TinyStudy) -> Any:
    found = modules["replay_world"]
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = OpenSpace(study.config.search.space, study.architecture.depths)
    rows = []
    for _ in range(120):
        settings = space.suggest(asked.ask())
        last = score(settings)
        curve = [last - 0.1 * (EPOCHS - epoch) for epoch in range(1, EPOCHS + 1)]
        folds = [[value - 0.02, value + 0.01, value + 0.01] for value in curve]
        rows.append(found.Row("random", settings, curve, folds, [last - 0.1, last - 0.1]))
    nothing = TrialSettings(subset="none")
    rows.append(found.Row("baselines", nothing, [0.5], [[0.48, 0.51, 0.51]], [0.4, 0.4]))
    return found.World(rows, study.architecture.depths)


def test_a_world_is_read_as_it_was_written(
    modules: dict[str, ModuleType], world: Any, tmp_path: Path
) -> None:
    world.write(tmp_path / "world.parquet")
    again = modules["replay_world"].World.read(tmp_path / "world.parquet", world.depths)
    assert [row.settings for row in again.rows] == [row.settings for row in world.rows]
    assert again.rows[7].validation == pytest.approx(world.rows[7].validation)
    assert again.rows[7].folds[2] == pytest.approx(world.rows[7].folds[2])
    assert modules["replay_world"].Row.of(world.rows[3].as_json()) == world.rows[3]


def test_a_world_answers_alike_and_for_what_was_not_recorded(world: Any) -> None:
    good, poor = (TrialSettings(subset="vision.ln", rates={"ln": rate}) for rate in (0.01, 0.15))
    first = world.ask(good, 1)
    assert world.ask(good, 1) == first
    assert len(first.validation) == EPOCHS
    assert {world.ask(good, seed).test for seed in range(9)} == {first.test}
    assert len({world.ask(good, seed).validation[-1] for seed in range(9)}) > 1, "noise"
    assert first.test > world.ask(poor, 1).test + 0.05
    validation, test = world.held_out
    assert validation > 0.8
    assert test > 0.8
    assert world.best == pytest.approx(0.8, abs=0.05)


def test_a_replayed_search_is_that_of_a_study(
    modules: dict[str, ModuleType], world: Any, study: TinyStudy
) -> None:
    replay, config = modules["replay_search"].replay, study.config
    steps = replay(world, config, study.data)
    # Beside the 20 trials a peer; no variant, as heads of text at strength 1 are judged anyway.
    assert [step.trials for step in steps] == [*range(1, 22)]
    assert [step.epochs for step in steps] == sorted(step.epochs for step in steps)
    assert replay(world, config, study.data) == steps
    search = config.search.model_copy(update={"asha": None})
    whole = config.model_copy(update={"search": search})
    every = replay(world, whole, study.data)
    # Two of the trials tune nothing: CLIP as it is, and a linear head on it.
    assert every[-1].epochs == EPOCHS * 19 > steps[-1].epochs
    assert abs(world.best - every[-1].test) < 0.1


def test_variants_are_chosen_from_in_the_end(
    modules: dict[str, ModuleType], world: Any, study: TinyStudy
) -> None:
    confirm = study.config.confirm.model_copy(update={"strength": 0.5})
    config = study.config.model_copy(update={"confirm": confirm})
    steps = modules["replay_search"].replay(world, config, study.data)
    assert len(steps) > 21
    assert steps[-1].epochs - steps[20].epochs == EPOCHS * (len(steps) - 21)


def test_what_a_search_needs_is_told_by_its_median_and_quartiles(
    modules: dict[str, ModuleType],
) -> None:
    replay, step = modules["replay"], modules["replay_search"].Step
    searches = [
        [step(0, 2.0, 0.7), step(1, 4.0, 0.5), step(2, 8.0, reached), step(3, 9.0, 0.7)]
        for reached in (0.5, 0.698, 0.699, 0.7, 0.7)
    ]
    line = replay.line_of("mine", searches, 0.7)
    told = "| mine | 5 | 2 [2, 2] | 8 [8, 8] | {} | 9 [9, 9] | 0.00 [0.00, 0.00] |"
    assert line.startswith(told.format("–"))
    line = replay.line_of("mine", searches, 0.7, par=0.6995)
    assert line.startswith(told.format("9 [8, 9]"))
    assert replay.quartiles([1.0, math.inf, math.inf], "{:.0f}") == "never [1, never]"


@pytest.mark.long
def test_replays_are_kept_as_they_end_and_not_made_again(
    modules: dict[str, ModuleType], world: Any, tmp_path: Path
) -> None:
    replay, step = modules["replay"], modules["replay_search"].Step
    path, name = tmp_path / "kept" / "random.jsonl", "random"
    changes = ("training.epochs=4", "search.folds=3", "data.shots=2", "search.trials=8")
    jobs = [("quickstart", tmp_path, changes, name, seed) for seed in (1, 2)]
    (tmp_path / "quickstart").mkdir()
    depths = replay._study("quickstart", tmp_path, changes).architecture().depths
    world = type(world)(world.rows, depths)
    first = replay.replays(jobs[:1], path, world, 1)
    whole = path.read_text()
    path.write_text(whole + whole[:9])  # cut as by a kill
    both = replay.replays(jobs, path, world, 1)
    assert both[:1] == first
    assert path.read_text().startswith(whole)
    assert all(isinstance(one, step) for steps in both for one in steps)
    assert len(both) == 2
    kept = path.read_text()
    assert replay.replays(jobs, path, world, 1) == both
    assert path.read_text() == kept
