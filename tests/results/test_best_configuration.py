"""What validation ranks first, and whether it beats chance; no tracker is needed to know."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.config.loading import build_config
from study.config.trial_settings import TrialSettings
from study.results.best_configuration import BestConfiguration, final_trial_id, read_best
from study.results.study_result import read_study_result, write_chance
from study.storage.study_folder import CHANCE, StudyFolder
from study.trial.study import Candidate
from tests.example_studies import ExampleStudy
from tests.not_none import not_none


def best_of(study: Any) -> BestConfiguration:
    return not_none(read_best(study.study))


def test_a_configuration_has_the_means_of_the_seeds_that_have_finished(finish: Any, tmp_path: Path):
    study = finish(tmp_path, "above")
    study.test(2, test_score=0.65)
    best = best_of(study)
    assert best.candidate.source_trial == "search-0001"
    assert best.test_scores == pytest.approx({"test_accuracy": 0.7, "test_score": 0.7})
    for left in (["test-best-seed1", "test-best-seed2"], ["test-best-seed2"], []):
        assert [trial.trial_id for trial in best_of(study).trials] == left
        for trial in left[:1]:
            (study.folder.trial(trial).path / "end.json").unlink()
    baseline, _ = study.folder.read_json("candidates.json")
    for candidates in ([baseline], None):
        study.folder.write_json("candidates.json", candidates)
        assert read_best(study.study) is None


@pytest.mark.parametrize(
    "images, settings, trial_id",
    [
        ("labelled", {"subset": "vision.ln", "rates": {"ln": 0.1}}, "final-labelled-0012"),
        ("everything", {"subset": "none", "head": "linear"}, "final-everything-0012"),
        ("labelled", {"subset": "none"}, None),
        ("shots", {"subset": "vision.ln", "rates": {"ln": 0.1}}, None),
    ],
)
def test_a_final_training_is_named_by_its_images_and_trial(
    images: str, settings: Any, trial_id: str | None
):
    config = build_config({"final": {"images": images}}, "test")
    best = Candidate(
        label="best",
        settings=TrialSettings.model_validate(settings),
        source_trial="search-0012",
        training="0123456789ab",
        search_trials=12,
    )
    assert final_trial_id(config, best) == trial_id
    assert final_trial_id(config, None) is None


@pytest.mark.parametrize(
    "change, labels",
    [
        (ExampleStudy.choose_full, {"best", "full", "best-with-delta"}),
        (lambda study: study.choose_other("clipfit-tuned"), {"best", "clipfit-tuned"}),
        (ExampleStudy.forget_images, set()),
    ],
    ids=["a final model in place of the best", "a best that equals a baseline", "no predictions"],
)
def test_chance_is_written_by_all_labels_of_the_best_and_of_the_final_model(
    few_shot_study: Path, change: Callable[[ExampleStudy], object], labels: set[str]
):
    change(ExampleStudy(few_shot_study))
    result = read_study_result(few_shot_study)
    write_chance(result)
    row = result.best
    assert {*(StudyFolder(few_shot_study).read_json(CHANCE) or {})} == labels
    best = best_of(ExampleStudy(few_shot_study))
    assert best.against_chance == not_none(row).against_chance
    assert {trial.read_config()["label"] for trial in best.trials} == {best.candidate.training}
