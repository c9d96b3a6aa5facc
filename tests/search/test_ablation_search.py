"""An ablation tunes the learning rate of each cell by validation, and only then tests it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.errors import InterruptedStudyError, StudyError
from study.method.subsets import parse
from study.search import ablation_search, confirmation
from study.search.rate_grid import MOST_EXTENSIONS
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial import TrialConfig, TrialData
from study.trial.study import Candidate, Study
from tests import small_trials
from tests.settings import ARCHITECTURE, settings, study_of

GRID: dict[str, Any] = {
    "design": "grid",
    "subsets": {"norms": "vision.ln", "biases": "text.bias"},
    "rates": [0.01, 0.1],
    "distill_weight": 2.0,
}


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create(dump_config(grid()), {})
    return folder


def grid(**changes: Any) -> StudyConfig:
    return build_config({"seed": 3, "ablation": GRID | changes}, "test")


def study(folder: StudyFolder, **changes: Any) -> Study:
    return study_of(grid(**changes), folder)


def train(folder: StudyFolder, label: str, rate: float, score: float, **changes: Any) -> None:
    """Write a trial of the search that ran to its end."""
    subset = {"base": "clipfit", **GRID["subsets"]}[label]
    number = len(list(folder.trials()))
    trial = folder.trial(f"search-{number:04d}")
    config = small_trials.trial(
        trial_id=trial.trial_id,
        arm=label,
        label=f"{label} at {rate:g}",
        number=number,
        seed=3,
        subset=str(parse(subset)),
        subset_key=parse(subset).key(ARCHITECTURE.depths),
        bias_lr=rate,
        ln_lr=rate,
        distill_weight=2.0,
        epochs=1,
    )
    trial.create(config.model_dump(mode="json"))
    trial.append_report({"epoch": 1, "val_score": score, "seconds": 1.0})
    trial.write_end(End(changes.get("status", "finished"), 1, 1.0))


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What would be trained."""
    queued = SimpleNamespace(stage=None, trials=[], data={}, reuse_results=None)

    def run_queue(
        own: Study,
        stage: str,
        wanted: Iterable[TrialConfig],
        data: Mapping[int, TrialData],
        observers: Sequence[Any],
        reuse_results: Any = None,
    ) -> None:
        queued.stage, queued.trials, queued.data = stage, list(wanted), data
        queued.reuse_results = reuse_results

    for module in (ablation_search, confirmation):
        monkeypatch.setattr(module, "run_queue", run_queue)
    return queued


def test_every_cell_is_tuned_at_every_rate(
    folder: StudyFolder, queued: SimpleNamespace, few_digits: TrialData
) -> None:
    def reuse_results(trials: Sequence[TrialConfig]) -> list[str]:
        return []

    ablation_search.tune_cells(study(folder), few_digits, [], reuse_results)
    assert queued.stage == "search"
    assert queued.reuse_results is reuse_results
    assert list(queued.data) == [3]
    assert [(t.trial_id, t.arm, t.label) for t in queued.trials] == [
        ("search-0000", "base", "base at 0.01"),
        ("search-0001", "base", "base at 0.1"),
        ("search-0002", "norms", "norms at 0.01"),
        ("search-0003", "norms", "norms at 0.1"),
        ("search-0004", "biases", "biases at 0.01"),
        ("search-0005", "biases", "biases at 0.1"),
    ]
    base, norms, biases = queued.trials[1::2]
    assert base.settings == settings("clipfit", 0.1, 0.1, 2.0)
    assert norms.settings == settings("vision.ln", None, 0.1, 0.0)
    assert biases.settings == settings("text.bias", 0.1, None, 2.0)


def test_the_rate_of_a_cell_is_the_one_that_validation_prefers(folder: StudyFolder) -> None:
    for label, scores in (("base", (0.5, 0.6)), ("norms", (0.8, 0.3)), ("biases", (0.4, 0.4))):
        for rate, score in zip((0.01, 0.1), scores, strict=True):
            train(folder, label, rate, score)
    chosen = ablation_search.fix_rates(study(folder))
    assert {label: proposal.rates["bias"] for label, proposal in chosen.items()} == {
        "base": 0.1,
        "norms": 0.01,
        "biases": 0.01,  # of two that are equal the first
    }
    assert chosen["norms"].subset == "vision.ln"


def test_the_choice_is_written_once_and_kept(folder: StudyFolder) -> None:
    for label in ("base", "norms", "biases"):
        train(folder, label, 0.01, 0.5)
    first = ablation_search.fix_rates(study(folder))
    train(folder, "norms", 0.1, 0.9)
    assert ablation_search.fix_rates(study(folder)) == first
    assert folder.read_json("cells.json")["norms"]["rates"]["ln"] == 0.01


def test_a_cell_none_of_whose_trials_ran_to_the_end_is_named(folder: StudyFolder) -> None:
    train(folder, "base", 0.01, 0.5)
    train(folder, "norms", 0.01, 0.5, status="failed")
    with pytest.raises(StudyError, match="no trial of the cell 'norms' ran all its epochs"):
        ablation_search.fix_rates(study(folder))
    assert folder.read_json("cells.json") is None


def test_a_single_rate_needs_no_search(folder: StudyFolder) -> None:
    chosen = ablation_search.fix_rates(study(folder, rates=[0.3]))
    assert chosen == {
        "base": settings("text.mlp.fc2.bias + vision.ln", 0.3, 0.3, 2.0),
        "norms": settings("vision.ln", 0.3, 0.3, 2.0),
        "biases": settings("text.bias", 0.3, 0.3, 2.0),
    }


def test_every_cell_is_tested_on_each_seeds_shots_at_its_own_rate(
    folder: StudyFolder, queued: SimpleNamespace, few_digits: TrialData
) -> None:
    chosen = [
        Candidate(label="base", settings=settings("clipfit", 0.1, 0.1, 2.0)),
        Candidate(label="norms", settings=settings("vision.ln", 0.01, 0.01, 2.0)),
    ]
    data = {1: few_digits, 5: few_digits}
    confirmation.run_confirm(study(folder), chosen, data, [], stage="ablation")
    assert queued.stage == "ablation"
    assert queued.data == data
    assert [(t.trial_id, t.label, t.seed, t.settings.rates["ln"]) for t in queued.trials] == [
        ("ablation-0000", "base", 1, 0.1),
        ("ablation-0001", "norms", 1, 0.01),
        ("ablation-1000", "base", 5, 0.1),
        ("ablation-1001", "norms", 5, 0.01),
    ]


Trainer = Callable[..., SimpleNamespace]


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Makes a queue that ends its trials at once, each with a score that follows from its rates."""

    def make(score: Callable[[TrialConfig], float | None]) -> SimpleNamespace:
        trained = SimpleNamespace(ids=[], rounds=[], stop_at=None)

        def run_queue(own: Study, stage: str, wanted: list[TrialConfig], *_: Any) -> None:
            trained.rounds.append([trial.label for trial in wanted])
            for config in wanted:
                if len(trained.ids) == trained.stop_at:
                    raise InterruptedStudyError("the study was interrupted")
                folder = own.folder.trial(config.trial_id)
                assert folder.read_end() is None, "an ended trial is never trained again"
                folder.create(config.model_dump(mode="json"))
                found = score(config)
                if found is not None:
                    folder.append_report({"epoch": 1, "val_score": found, "seconds": 1.0})
                folder.write_end(End("finished" if found is not None else "failed", 1, 1.0))
                trained.ids.append(config.trial_id)

        monkeypatch.setattr(ablation_search, "run_queue", run_queue)
        return trained

    return make


def near(bias: float, ln: float) -> Callable[[TrialConfig], float]:
    """A score that falls with the distance of each rate to the best one."""

    def score(config: TrialConfig) -> float:
        best = {"bias": bias, "ln": ln}
        return 0.9 - sum(
            0.1 * abs(math.log10(rate / best[kind])) for kind, rate in config.settings.rates.items()
        )

    return score


def tune(folder: StudyFolder, data: TrialData, **changes: Any) -> list[tuple[list[str], int]]:
    """Tune the cells; returns what was said of extensions, and how many trials there may be."""
    said: list[tuple[list[str], int]] = []
    tuned = study(folder, **changes)
    totals = [ablation_search.most_trials(tuned)]

    def tell(lines: Sequence[str], total: int) -> None:
        totals.append(total)
        if lines:
            said.append(([*lines], total))

    ablation_search.tune_cells(tuned, data, [], None, tell)
    assert totals == sorted(totals, reverse=True), "the largest number of trials may only fall"
    assert totals[-1] == len(list(folder.trials()))
    return said


def rates_of(folder: StudyFolder, label: str) -> list[float]:
    """The rates that were tried in a cell which has one for all kinds."""
    trials = [TrialConfig.model_validate(trial.read_config()) for trial in folder.trials()]
    return [next(iter(t.settings.rates.values())) for t in trials if t.arm == label]


def test_a_grid_is_extended_by_its_ratio_until_the_best_rate_is_inside(
    folder: StudyFolder, trainer: Trainer, few_digits: TrialData
) -> None:
    trained = trainer(near(bias=1.0, ln=0.25))
    cells = {"base": "vision.ln1", "subsets": {"biases": "text.bias", "mlp": "text.mlp.bias"}}
    said = tune(folder, few_digits, rates=[0.125, 0.25, 0.5], **cells)
    assert rates_of(folder, "biases") == [0.125, 0.25, 0.5, 1.0, 2.0]
    assert rates_of(folder, "base") == [0.125, 0.25, 0.5]
    assert said == [
        (["the grid of “biases” is extended to 1", "the grid of “mlp” is extended to 1"], 15),
        (["the grid of “biases” is extended to 2", "the grid of “mlp” is extended to 2"], 15),
    ]
    assert trained.rounds[1:] == [["biases at 1", "mlp at 1"], ["biases at 2", "mlp at 2"]]
    assert ablation_search.fix_rates(study(folder, **cells))["biases"].rates == {"bias": 1.0}


def test_a_best_rate_that_keeps_moving_is_followed_a_few_times_only(
    folder: StudyFolder, trainer: Trainer, few_digits: TrialData
) -> None:
    trainer(near(1e9, 1e9))
    said = tune(folder, few_digits)
    assert len(said) == MOST_EXTENSIONS == 3
    assert rates_of(folder, "norms") == [0.01, 0.1, 1.0, 10.0, 100.0]


def test_rates_beyond_a_bound_that_fail_end_the_extension(
    folder: StudyFolder, trainer: Trainer, few_digits: TrialData
) -> None:
    best = near(1e9, 1e9)
    trainer(lambda config: None if max(config.settings.rates.values()) > 5 else best(config))
    assert len(tune(folder, few_digits)) == 2
    assert rates_of(folder, "norms") == [0.01, 0.1, 1.0, 10.0]
    assert ablation_search.fix_rates(study(folder))["norms"].rates == {"ln": 1.0}


def test_a_cell_that_failed_at_every_rate_is_not_extended(
    folder: StudyFolder, trainer: Trainer, few_digits: TrialData
) -> None:
    trainer(lambda config: None)
    assert tune(folder, few_digits) == []


def test_the_rates_of_each_kind_are_extended_in_combination_with_all_others(
    folder: StudyFolder, trainer: Trainer, few_digits: TrialData
) -> None:
    trained = trainer(near(bias=0.01, ln=2.5))
    rates = {"bias": [0.001, 0.01, 0.1], "ln": [0.5, 1.0, 2.0]}
    said = tune(folder, few_digits, rates=rates, subsets={"biases": "text.bias"})
    assert said == [(["the grid of “base” is extended to ln 4"], 33)]
    assert trained.rounds[1] == [f"base at bias {bias}, ln 4" for bias in ("0.001", "0.01", "0.1")]


@pytest.mark.parametrize("changes", [{"extend": False}, {"rates": [0.1]}])
def test_nothing_is_extended_where_that_is_not_wished_or_nothing_is_chosen(
    folder: StudyFolder, trainer: Trainer, few_digits: TrialData, changes: dict[str, Any]
) -> None:
    trained = trainer(near(1e9, 1e9))
    assert tune(folder, few_digits, **changes) == []
    assert len(trained.rounds) == 1


def test_after_an_interruption_what_is_left_is_trained_under_the_same_names(
    folder: StudyFolder, trainer: Trainer, few_digits: TrialData, tmp_path: Path
) -> None:
    trained = trainer(near(4.0, 0.5))
    whole = StudyFolder(tmp_path / "whole")
    whole.create(dump_config(grid()), {})
    tune(whole, few_digits)
    names = {trial.trial_id: trial.read_config()["label"] for trial in whole.trials()}
    assert len(names) > 8
    trained.ids.clear()
    for stop in range(len(names)):  # each call trains one trial more, then is interrupted
        trained.stop_at = stop
        with pytest.raises(InterruptedStudyError):
            tune(folder, few_digits)
    trained.stop_at = None
    tune(folder, few_digits)
    assert trained.ids == [*names]
    assert {trial.trial_id: trial.read_config()["label"] for trial in folder.trials()} == names


def test_a_trial_of_the_ledger_is_known_by_what_it_trains_and_not_by_its_number(
    folder: StudyFolder, trainer: Trainer, few_digits: TrialData
) -> None:
    trained = trainer(near(1e9, 0.1))
    norms = {"norms": GRID["subsets"]["norms"]}
    tune(folder, few_digits, extend=False, subsets=norms)
    tune(folder, few_digits, extend=False, subsets={"biases": "text.bias", **norms})
    assert trained.ids == [f"search-{number:04d}" for number in range(6)]
    assert trained.rounds[1] == ["biases at 0.01", "biases at 0.1"]


def test_after_the_choice_nothing_is_extended(
    folder: StudyFolder, trainer: Trainer, few_digits: TrialData
) -> None:
    trainer(near(1e9, 1e9))
    tune(folder, few_digits, extend=False)
    ablation_search.fix_rates(study(folder))
    assert tune(folder, few_digits) == []
