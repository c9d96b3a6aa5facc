"""An ablation tunes the learning rate of each cell by validation, and only then tests it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.config.loading import build_config, dump_config
from study.errors import StudyError
from study.search import ablation_search
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


class Ablation:
    """An ablation whose trials end at once, each with a score that follows from its rates."""

    def __init__(self, path: Path, data: TrialData):
        self.folder = StudyFolder(path)
        self.folder.create(dump_config(build_config({"ablation": GRID}, "test")), {})
        self.data = data
        self.score: Score = lambda config: max(config.settings.rates.values())
        self.trained: list[TrialConfig] = []

    def study(self, **changes: Any) -> Study:
        config = build_config({"seed": 3, "ablation": GRID | changes}, "test")
        return study_of(config, self.folder)

    def tune(self, **changes: Any):
        """Tune the cells."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ablation_search, "run_queue", self._run_queue)
            ablation_search.tune_cells(self.study(**changes), self.data, [])

    def fix_rates(self, **changes: Any) -> JsonObject:
        return {**ablation_search.fix_rates(self.study(**changes))}

    def _run_queue(self, own: Study, stage: str, wanted: list[TrialConfig], data: Any, _: Any):
        assert (stage, data) == ("search", {3: self.data})
        for config in wanted:
            trial = own.folder.trial(config.trial_id)
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
    ablation.tune()
    assert [(t.trial_id, t.group, t.label) for t in ablation.trained] == [
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
    ablation.score = lambda config: scores[config.group]["at 0.1" in config.label]
    ablation.tune()
    assert ablation.fix_rates() == {
        "base": settings("clipfit", 0.1, 0.1, 2.0),
        "norms": settings("vision.ln", None, 0.01, 0.0),
        "biases": settings("text.bias", 0.01, None, 2.0),  # of two that are equal the first
    }


def test_the_choice_is_written_once(ablation: Ablation):
    ablation.tune()
    first = ablation.fix_rates()
    assert ablation.folder.read_json("cells.json")["norms"]["rates"] == {"ln": 0.1}
    assert ablation.fix_rates(rates=[0.3]) == first


def test_a_cell_that_failed_at_every_rate_is_left_out(ablation: Ablation):
    ablation.score = lambda config: None if config.group == "base" else 0.5
    ablation.tune()
    assert list(ablation.fix_rates()) == ["norms", "biases"]


def test_an_ablation_whose_cells_all_failed_chooses_nothing(ablation: Ablation):
    ablation.score = lambda config: None
    ablation.tune()
    with pytest.raises(StudyError, match="no trial of any cell ran all its epochs"):
        ablation.fix_rates()
    assert ablation.folder.read_json("cells.json") is None


def test_a_single_rate_needs_no_search(ablation: Ablation):
    assert ablation.fix_rates(rates=[0.3]) == {
        "base": settings("text.mlp.fc2.bias + vision.ln", 0.3, 0.3, 2.0),
        "norms": settings("vision.ln", 0.3, 0.3, 2.0),
        "biases": settings("text.bias", 0.3, 0.3, 2.0),
    }
