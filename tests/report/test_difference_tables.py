"""Two candidates are compared image by image, and over other images like these."""

from pathlib import Path

import pytest

from study.commands import main
from study.errors import DataError
from study.report.difference_tables import (
    ALL_CLASSES,
    class_accuracies,
    confusions,
    difference_tables,
    image_shares,
)
from study.report.formatting import points
from study.results.leaderboard import Leaderboard, leaderboard
from study.results.study_results import Results, read_results
from study.storage.study_folder import StudyFolder
from study.trial import Prediction
from study.trial.predictions import to_parquet
from tests.results.conftest import forget_images


def predict(folder: Path, label: str, seed: int, *predicted: str) -> None:
    """Keep predictions of four images of class a, then four of class b, as if it were now."""
    trial = StudyFolder(folder).trial(f"confirm-{label}-seed{seed}")
    images = enumerate(zip("aaaabbbb", "".join(predicted), strict=False))
    found = [Prediction("accuracy", f"{n}.png", true, taken, 0.9) for n, (true, taken) in images]
    trial.write("predictions.parquet", to_parquet(found))


@pytest.fixture
def predicted(few_shot_study: Path) -> Path:
    forget_images(few_shot_study)
    predict(few_shot_study, "best", 1, "aaaa", "bbba")
    predict(few_shot_study, "best", 2, "aaaa", "bbbb")
    predict(few_shot_study, "best", 3, "bbbb", "bbbb")
    predict(few_shot_study, "clipfit-tuned", 1, "aabb", "bbbb")
    predict(few_shot_study, "clipfit-tuned", 2, "aaab", "bbbb")
    predict(few_shot_study, "zero-shot", 1, "abab", "abab")
    return few_shot_study


def test_an_image_counts_by_the_share_of_common_seeds_in_which_it_is_right(predicted: Path) -> None:
    results = read_results(predicted)
    gains = image_shares(results, "best", "clipfit-tuned")["gain"]
    assert gains.tolist() == [0.0, 0.0, 1.0 - 0.5, 1.0 - 0.0, 0.0, 0.0, 0.0, 0.5 - 1.0]
    assert image_shares(results, "best", "bitfit").empty


def test_two_candidates_differ_class_by_class_and_image_by_image(
    predicted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert main(["diff", str(predicted), "best", "clipfit-tuned"]) == 0
    assert classes.note in " ".join(capsys.readouterr().out.split())
    assert main(["diff", str(predicted), "best", "clipfit-tuned", "--format", "csv"]) == 0
    assert capsys.readouterr().out == images.csv()


def test_a_candidate_differs_nowhere_from_itself(
    predicted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(predicted), "best", "best", "--format", "csv"]) == 0
    assert capsys.readouterr().out == "part,class,path,one,other,gain\n"


def test_predictions_of_other_images_are_not_compared(predicted: Path) -> None:
    predict(predicted, "clipfit-tuned", 2, "aaa", "bbbb")
    with pytest.raises(DataError, match="'best' and 'clipfit-tuned' are not of the same test im"):
        image_shares(read_results(predicted), "best", "clipfit-tuned")


@pytest.mark.parametrize(
    ("other", "fault"), [("bestt", "no candidate 'bestt'"), ("bitfit", "'best' and 'bitfit' have")]
)
def test_candidates_that_cannot_be_compared_are_named(
    predicted: Path, capsys: pytest.CaptureFixture[str], other: str, fault: str
) -> None:
    assert main(["diff", str(predicted), "best", other]) == 2
    assert capsys.readouterr().err.startswith(f"error: {fault}")


def test_accuracies_and_confusions_of_classes_follow_from_predictions(predicted: Path) -> None:
    results, board = read(predicted)
    worst, other = class_accuracies(results, board)
    assert (worst.true, worst.before, worst.after) == ("a", 0.5, 8 / 12)
    assert worst.gain == pytest.approx(8 / 12 - 0.5)
    assert (other.true, other.before, other.after) == ("b", 0.5, 11 / 12)
    assert [(s.true, s.predicted, s.before, s.after) for s in confusions(results, board)] == [
        ("a", "b", 0.5, 4 / 12),
        ("b", "a", 0.5, 1 / 12),
    ]
    assert board.chance == 0.5


def test_a_reader_can_add_up_what_a_difference_counts(base_to_new_study: Path) -> None:
    results = read_results(base_to_new_study)
    classes, _ = difference_tables(results, "best", "clipfit-tuned")
    for name in (": base ", "; new ", "; hmean +"):
        assert name in classes.note
    for part in ("base", "new"):
        *rows, total = (row[1:] for row in classes.rows if row[0] == part)
        assert total[0] == ALL_CLASSES
        for column in (1, 2, 3):
            assert sum(row[column] for row in rows) == total[column]
        for _, answers, only_one, only_other, shown in (*rows, total):
            assert shown == points((only_one - only_other) / answers)


def read(folder: Path) -> tuple[Results, Leaderboard]:
    results = read_results(folder)
    return results, leaderboard(results)


def test_without_kept_zero_shot_predictions_nothing_is_said_of_before(predicted: Path) -> None:
    (predicted / "trials/confirm-zero-shot-seed1/predictions.parquet").unlink()
    results, board = read(predicted)
    assert all(entry.before is None for entry in class_accuracies(results, board))
    assert all(entry.before is None for entry in confusions(results, board))


def test_without_a_winner_there_is_nothing_to_show(few_shot_study: Path) -> None:
    for path in (few_shot_study / "trials").glob("confirm-best-*/reports.jsonl"):
        path.unlink()
    results, board = read(few_shot_study)
    assert class_accuracies(results, board) == ()
    assert confusions(results, board) == ()
