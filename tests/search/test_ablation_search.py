"""An ablation tunes the learning rate of each cell by validation, and only then tests it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from study.config.loading import build_config, dump_config
from study.errors import InterruptedStudyError, StudyError
from study.search import ablation_search
from study.search.rate_grid import MOST_EXTENSIONS
from study.storage.ledger_files import JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End, Status
from study.trial import TrialConfig, TrialData
from study.trial.study import Study
from tests.settings import settings, study_of

GRID: JsonObject = {
    "design": "grid",
    "subsets": {"norms": "vision.ln", "biases": "text.bias"},
    "rates": [0.01, 0.1],
    "distill_weight": 2.0,
}
Score = Callable[[TrialConfig], float | None]


def near(bias: float, ln: float) -> Score:
    """A score that falls with the distance of each rate to the best one."""
    best = {"bias": bias, "ln": ln}

    def score(config: TrialConfig) -> float:
        rates = config.settings.rates
        return 0.9 - sum(0.1 * abs(math.log10(rates[kind] / best[kind])) for kind in rates)

    return score


class Ablation:
    """An ablation whose trials end at once, each with a score that follows from its rates."""

    def __init__(self, path: Path, data: TrialData):
        self.folder = StudyFolder(path)
        self.folder.create(dump_config(build_config({"ablation": GRID}, "test")), {})
        self.data = data
        self.score: Score = near(1e9, 1e9)
        self.trained: list[TrialConfig] = []
        self.rounds: list[list[str]] = []
        """The labels of the trials of each queue."""
        self.stop_at: int | None = None
        """The number of trials after which the study is interrupted."""

    def study(self, **changes: Any) -> Study:
        config = build_config({"seed": 3, "ablation": GRID | changes}, "test")
        return study_of(config, self.folder)

    def tune(self, **changes: Any) -> list[tuple[list[str], int]]:
        """Tune the cells; return what was said of extensions, and how many trials there may be."""
        said = []
        tuned = self.study(**changes)
        totals = [ablation_search.most_trials(tuned)]

        def tell(lines: Sequence[str], total: int):
            totals.append(total)
            if lines:
                said.append(([*lines], total))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ablation_search, "run_queue", self._run_queue)
            ablation_search.tune_cells(tuned, self.data, [], tell)
        assert totals == sorted(totals, reverse=True), "the largest number of trials may only fall"
        assert totals[-1] == len(list(self.folder.trials()))
        return said

    def fix_rates(self, **changes: Any) -> JsonObject:
        return {**ablation_search.fix_rates(self.study(**changes))}

    def rates_of(self, label: str) -> list[float]:
        """The rates that were tried in a cell which has one for all kinds."""
        return [max(t.settings.rates.values()) for t in self.trained if t.arm == label]

    def _run_queue(self, own: Study, stage: str, wanted: list[TrialConfig], data: Any, _: Any):
        assert (stage, data) == ("search", {3: self.data})
        self.rounds.append([trial.label for trial in wanted])
        for config in wanted:
            if len(self.trained) == self.stop_at:
                raise InterruptedStudyError("the study was interrupted")
            trial = own.folder.trial(config.trial_id)
            assert trial.read_end() is None, "an ended trial is never trained again"
            trial.create(config.model_dump(mode="json"))
            score = self.score(config)
            status: Status = "failed"
            if score is not None:
                trial.append_report({"epoch": 1, "val_score": score, "seconds": 1.0})
                status = "finished"
            trial.write_end(End(status, 1, 1.0))
            self.trained.append(config)


@pytest.fixture
def ablation(tmp_path: Path, few_digits: TrialData) -> Ablation:
    return Ablation(tmp_path / "mine", few_digits)


def test_every_cell_is_tuned_at_every_rate(ablation: Ablation):
    assert ablation.tune(extend=False) == []
    assert [(t.trial_id, t.arm, t.label) for t in ablation.trained] == [
        ("search-0000", "base", "base at 0.01"),
        ("search-0001", "base", "base at 0.1"),
        ("search-0002", "norms", "norms at 0.01"),
        ("search-0003", "norms", "norms at 0.1"),
        ("search-0004", "biases", "biases at 0.01"),
        ("search-0005", "biases", "biases at 0.1"),
    ]
    assert [trial.settings for trial in ablation.trained[1::2]] == [
        settings("clipfit", 0.1, 0.1, 2.0),
        settings("vision.ln", None, 0.1, 0.0),
        settings("text.bias", 0.1, None, 2.0),
    ]


def test_the_rate_of_a_cell_is_the_one_that_validation_prefers(ablation: Ablation):
    scores = {"base": (0.5, 0.6), "norms": (0.8, 0.3), "biases": (0.4, 0.4)}
    ablation.score = lambda config: scores[config.arm]["at 0.1" in config.label]
    ablation.tune(extend=False)
    assert ablation.fix_rates() == {
        "base": settings("clipfit", 0.1, 0.1, 2.0),
        "norms": settings("vision.ln", None, 0.01, 0.0),
        "biases": settings("text.bias", 0.01, None, 2.0),  # of two that are equal the first
    }


def test_the_choice_is_written_once_and_nothing_is_extended_after_it(ablation: Ablation):
    ablation.tune(extend=False)
    first = ablation.fix_rates()
    assert ablation.folder.read_json("cells.json")["norms"]["rates"] == {"ln": 0.1}
    assert ablation.tune(rates=[0.01, 0.1, 1.0]) == []
    assert ablation.fix_rates() == first


def test_a_cell_that_failed_at_every_rate_is_left_out(ablation: Ablation):
    ablation.score = lambda config: None if config.arm == "base" else 0.5
    ablation.tune(extend=False)
    assert list(ablation.fix_rates()) == ["norms", "biases"]


def test_an_ablation_whose_cells_all_failed_chooses_nothing(ablation: Ablation):
    ablation.score = lambda config: None
    assert ablation.tune() == []
    with pytest.raises(StudyError, match="no trial of any cell ran all its epochs"):
        ablation.fix_rates()
    assert ablation.folder.read_json("cells.json") is None


def test_a_single_rate_needs_no_search(ablation: Ablation):
    assert ablation.fix_rates(rates=[0.3]) == {
        "base": settings("text.mlp.fc2.bias + vision.ln", 0.3, 0.3, 2.0),
        "norms": settings("vision.ln", 0.3, 0.3, 2.0),
        "biases": settings("text.bias", 0.3, 0.3, 2.0),
    }


def test_a_grid_is_extended_by_its_ratio_until_the_best_rate_is_inside(ablation: Ablation):
    ablation.score = near(bias=1.0, ln=0.25)
    cells = {"base": "vision.ln1", "subsets": {"biases": "text.bias", "mlp": "text.mlp.bias"}}
    said = ablation.tune(rates=[0.125, 0.25, 0.5], **cells)
    assert ablation.rates_of("biases") == [0.125, 0.25, 0.5, 1.0, 2.0]
    assert said == [
        (["best at the edge of the rates, so 1 as well: “biases”, “mlp”"], 15),
        (["best at the edge of the rates, so 2 as well: “biases”, “mlp”"], 15),
    ]
    assert ablation.rounds[1:] == [["biases at 1", "mlp at 1"], ["biases at 2", "mlp at 2"]]
    assert ablation.fix_rates(**cells)["biases"].rates == {"bias": 1.0}


def test_a_best_rate_that_keeps_moving_is_followed_a_few_times_only(ablation: Ablation):
    assert len(ablation.tune()) == MOST_EXTENSIONS == 3
    assert ablation.rates_of("norms") == [0.01, 0.1, 1.0, 10.0, 100.0]


def test_rates_beyond_a_bound_that_fail_end_the_extension(ablation: Ablation):
    score = ablation.score
    ablation.score = lambda config: None if config.label.endswith("at 10") else score(config)
    assert len(ablation.tune()) == 2
    assert ablation.rates_of("norms") == [0.01, 0.1, 1.0, 10.0]
    assert ablation.fix_rates()["norms"].rates == {"ln": 1.0}


def test_after_an_interruption_what_is_left_is_trained_under_the_same_names(
    ablation: Ablation, tmp_path: Path
):
    whole = Ablation(tmp_path / "whole", ablation.data)
    whole.score = ablation.score = near(4.0, 0.5)
    whole.tune()
    assert len(whole.trained) > 8
    for stop in range(len(whole.trained)):  # each call trains one trial more, then is interrupted
        ablation.stop_at = stop
        with pytest.raises(InterruptedStudyError):
            ablation.tune()
    ablation.stop_at = None
    ablation.tune()
    assert ablation.trained == whole.trained


def test_a_trial_of_the_ledger_is_known_by_what_it_trains_and_not_by_its_number(
    ablation: Ablation,
):
    norms = {"norms": GRID["subsets"]["norms"]}
    ablation.tune(extend=False, subsets=norms)
    ablation.tune(extend=False, subsets={"biases": "text.bias", **norms})
    assert [trial.number for trial in ablation.trained] == list(range(6))
    assert ablation.rounds[1] == ["biases at 0.01", "biases at 0.1"]
