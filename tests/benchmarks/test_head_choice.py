"""The tables of what cross-fitting changes."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from study.config.settings import Settings
from study.selection.candidates import Judged
from study.trial import TrialConfig, run
from study.trial.cross_fitting import choose_head

LINEAR = {"subset": "none", "head": "linear"}


def judged(number: int, **settings: object) -> Judged:
    config = TrialConfig(
        trial_id=f"search-{number:04d}",
        stage="search",
        arm="search",
        label="search",
        number=number,
        seed=1,
        settings=Settings.model_validate(settings),
        subset_key="0",
        trainable=number,
        epochs=0,
        split_hash="0",
    )
    return Judged(config, 0.9)


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("head_choice")


@pytest.fixture
def trials(benchmark: ModuleType) -> list[object]:
    """Of three trials their scores on the same folds, and by cross-fitting."""
    return [
        benchmark.Scored(judged(1, **LINEAR), 0.93, 0.90),
        benchmark.Scored(judged(2, subset="none"), 0.92, 0.92),
        benchmark.Scored(judged(3, **LINEAR), 0.91, 0.91),
    ]


def test_the_gain_by_choice_alone_is_the_mean_difference_of_both_scores(
    benchmark: ModuleType, trials: list[object]
) -> None:
    rows = benchmark.of_heads([trials[0], trials[2]]).splitlines()
    assert rows[-1].split(" | ")[-1] == "+1.5 |"
    assert [row.split(" | ")[1] for row in rows[4:6]] == ["93.0", "91.0"]


def test_the_best_are_ranked_by_each_score_alone(
    benchmark: ModuleType, trials: list[object]
) -> None:
    cells = [row.split(" | ") for row in benchmark.best_of(trials).splitlines()[4:]]
    numbers = [[text[: len("search-0001")] for text in row[1:]] for row in cells]
    assert numbers == [
        ["search-0001", "search-0002"],
        ["search-0002", "search-0003"],
        ["search-0003", "search-0001"],
    ]


@pytest.mark.parametrize(
    ("settings", "makes_a_choice"),
    [
        (LINEAR, True),
        ({"subset": "none"}, False),
        ({**LINEAR, "head_lr": 0.01, "head_steps": 10}, False),
    ],
)
def test_a_trial_makes_a_choice_if_its_head_has_no_training_yet(
    benchmark: ModuleType, settings: dict[str, object], makes_a_choice: bool
) -> None:
    assert benchmark.chooses(judged(1, **settings)) is makes_a_choice


def test_choices_are_watched_only_while_asked(benchmark: ModuleType) -> None:
    with benchmark.watched([]):
        assert run.choose_head is not choose_head
    assert run.choose_head is choose_head
