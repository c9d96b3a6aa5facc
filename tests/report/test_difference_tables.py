"""Two candidates are compared image by image, and over other images like these."""

import json
from pathlib import Path

import pytest

from study.errors import StudyError
from study.report.difference_tables import difference_tables
from study.results.study_results import read_results
from study.storage.study_folder import StudyFolder
from study.trial import Prediction
from study.trial.predictions import predictions_to_parquet
from tests.changed_studies import configure
from tests.fake_ledger import SEEDS
from tests.report.conftest import AsKept


def test_two_candidates_differ_class_by_class_and_image_by_image(predicted: Path):
    classes, images = difference_tables(read_results(predicted), "best", "clipfit-tuned")
    assert classes.rows == [
        ["a", 8, 3, 0, "+37.5"],
        ["b", 8, 0, 1, "−12.5"],
        ["all classes", 16, 3, 1, "+12.5"],
    ]
    assert "8 test images with each of the 2 seeds" in classes.note
    assert "best less clipfit-tuned: accuracy +" in classes.note
    assert images.csv().splitlines() == [
        "part,class,path,one,other,gain",
        "accuracy,a,2.png,1.0,0.5,0.5",
        "accuracy,a,3.png,1.0,0.0,1.0",
        "accuracy,b,7.png,0.5,1.0,-0.5",
    ]
    _, none = difference_tables(read_results(predicted), "best", "best")
    assert none.csv() == "part,class,path,one,other,gain\n"


@pytest.mark.parametrize(
    "other, fault", [("bestt", "no candidate 'bestt'"), ("bitfit", "'best' and 'bitfit' have")]
)
def test_candidates_that_cannot_be_compared_are_named(predicted: Path, other: str, fault: str):
    with pytest.raises(StudyError, match=f"^{fault}"):
        difference_tables(read_results(predicted), "best", other)


def test_of_an_ablation_the_command_that_compares_its_cells_is_named(ablation_study: Path):
    with pytest.raises(StudyError, match=r"tested are: none; .* `leaderboard NAME --base CELL`"):
        difference_tables(read_results(ablation_study), "base", "zero-shot")


def test_a_difference_of_two_parts_is_what_was_kept(base_to_new_study: Path, as_kept: AsKept):
    classes, _ = difference_tables(read_results(base_to_new_study), "best", "clipfit-tuned")
    as_kept("difference", classes.markdown())


def test_of_several_datasets_the_note_has_the_source_each_target_and_their_mean(
    few_shot_study: Path,
):
    configure(few_shot_study, "protocol=transfer", "data.targets=[dtd, pets]")
    for label, right in (("best", 3), ("clipfit-tuned", 2)):
        for seed in SEEDS:
            score_on_datasets(few_shot_study, f"confirm-{label}-seed{seed}", right)
    results = read_results(few_shot_study)
    classes, _ = difference_tables(results, "best", "clipfit-tuned")
    for score in (
        "source (part “accuracy”) +25.0 points",
        "dtd +25.0 points",
        "pets +25.0 points",
        "mean accuracy over the target datasets +25.0 points",
    ):
        assert score in classes.note


def score_on_datasets(folder: Path, trial_id: str, right: int):
    """Let a trial be right on so many of four images of its source and of each of two targets."""
    trial = StudyFolder(folder).trial(trial_id)
    predictions = []
    for part in ("accuracy", "dtd", "pets"):
        for number in range(4):
            predicted = "a" if number < right else "b"
            predictions.append(Prediction("text", part, f"{number}.png", "a", predicted, 0.9))
    trial.write("predictions.parquet", predictions_to_parquet(predictions))
    names = ("test_source", "test_dtd", "test_pets", "test_score")
    report = {"epoch": 12} | dict.fromkeys(names, right / 4)
    path = folder / "trials" / trial_id / "reports.jsonl"
    path.write_text(json.dumps(report) + "\n")
