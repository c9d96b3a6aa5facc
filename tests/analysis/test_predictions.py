"""Two candidates are compared image by image, and over other images like these."""

from pathlib import Path

import pytest

from study.analysis.classes import class_accuracies, confusions
from study.analysis.comparison import leaderboard
from study.analysis.predictions import compared_images, diff, diff_table, image_findings
from study.analysis.results import read_results
from study.errors import DataError
from study.storage.ledger import StudyFolder
from study.trial import Prediction
from study.trial.predictions import to_parquet


def predict(folder: Path, label: str, seed: int, *predicted: str) -> None:
    """Keep predictions of four images of class a, then four of class b, as if it were now."""
    trial = StudyFolder(folder).trial(f"confirm-{label}-seed{seed}")
    images = enumerate(zip("aaaabbbb", "".join(predicted), strict=True))
    found = [Prediction("accuracy", f"{n}.png", true, taken, 0.9) for n, (true, taken) in images]
    trial.write("predictions.parquet", to_parquet(found))


@pytest.fixture
def predicted(few_shot_study: Path) -> Path:
    for path in few_shot_study.glob("trials/*/*.json"):
        if path.name in ("per_class.json", "confusion.json"):
            path.unlink()
    predict(few_shot_study, "best", 1, "aaaa", "bbba")
    predict(few_shot_study, "best", 2, "aaaa", "bbbb")
    predict(few_shot_study, "best", 3, "bbbb", "bbbb")
    predict(few_shot_study, "clipfit-tuned", 1, "aabb", "bbbb")
    predict(few_shot_study, "clipfit-tuned", 2, "aaab", "bbbb")
    predict(few_shot_study, "zero-shot", 1, "abab", "abab")
    return few_shot_study


def test_the_images_are_named_that_one_alone_gets_right(predicted: Path) -> None:
    results = read_results(predicted)
    assert [(i.path, i.label, i.one, i.other) for i in diff(results, "best", "clipfit-tuned")] == [
        ("2.png", "a", 1.0, 0.5),
        ("3.png", "a", 1.0, 0.0),
        ("7.png", "b", 0.5, 1.0),
    ]
    assert len(compared_images(results, "best", "clipfit-tuned")) == 8
    assert diff(results, "best", "best") == []


def test_they_are_counted_by_class_beside_the_accuracies(predicted: Path) -> None:
    table = diff_table(read_results(predicted), "best", "clipfit-tuned")
    assert table.header == ["class", "part", "images", "best alone", "clipfit-tuned alone", "Δ"]
    assert table.texts == [
        ["a", "accuracy", "4", "2", "0", "+37.5"],
        ["b", "accuracy", "4", "0", "1", "−12.5"],
    ]
    assert "“best” 93.8 ± " in table.note
    assert "(81.2 % as the mean over classes), +12.5 points (95 % interval " in table.note


def test_the_mean_over_classes_counts_every_class_alike(predicted: Path) -> None:
    for label in ("best", "clipfit"):
        trial = StudyFolder(predicted).trial(f"confirm-{label}-seed4")
        found = [Prediction("accuracy", f"{n}", "ab"[n > 0], "b", 0.5) for n in range(4)]
        trial.write("predictions.parquet", to_parquet(found))
    note = diff_table(read_results(predicted), "best", "clipfit").note
    assert "“best” 75.0 ± " in note
    assert "(50.0 % as the mean over classes)" in note


def test_accuracies_and_confusions_of_classes_follow_from_predictions(predicted: Path) -> None:
    results = read_results(predicted)
    board = leaderboard(results)
    assert [(s.true, s.before, s.after) for s in class_accuracies(results, board)] == [
        ("a", 0.5, 8 / 12),
        ("b", 0.5, 11 / 12),
    ]
    assert [(s.true, s.predicted, s.after) for s in confusions(results, board)] == [
        ("a", "b", 4 / 12),
        ("b", "a", 1 / 12),
    ]
    assert board.chance == 0.5


def test_the_winner_is_compared_over_test_images_where_they_were_kept(predicted: Path) -> None:
    results = read_results(predicted)
    (found,) = image_findings(results, leaderboard(results))
    assert found.startswith(
        "Against tuned CLIPFit, over other test images (bootstrap): accuracy +12.5 points (95 %"
    )
    for path in predicted.glob("trials/*/predictions.parquet"):
        path.unlink()
    assert image_findings(results, leaderboard(results)) == ()


def test_candidates_without_common_predictions_are_named(predicted: Path) -> None:
    with pytest.raises(DataError, match=r"'best' and 'bitfit'.*tested: .*clipfit-tuned"):
        diff(read_results(predicted), "best", "bitfit")


def test_a_candidate_goes_by_each_of_its_names(predicted: Path) -> None:
    folder = StudyFolder(predicted)
    candidates = folder.read_json("candidates.json")
    again = {**candidates[0], "label": "again", "same_as": "best"}
    folder.write_json("candidates.json", [*candidates, again])
    results = read_results(predicted)
    assert diff(results, "again", "zero-shot") == diff(results, "best", "zero-shot") != []


def test_cells_of_an_ablation_are_compared_as_well(ablation_study: Path) -> None:
    for number, taken in ((0, "a"), (1, "b")):
        trial = StudyFolder(ablation_study).trial(f"ablation-{number}-seed1")
        trial.write("predictions.parquet", to_parquet([Prediction("new", "0.png", "a", taken, 1)]))
    (image,) = diff(read_results(ablation_study), "base", "without text.mlp.fc2.bias")
    assert (image.part, image.gain) == ("new", 1.0)
