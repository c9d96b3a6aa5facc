"""What the best configuration takes images for is counted class by class."""

from pathlib import Path

from tests.changed_studies import board_of
from tests.fake_folder import CLASSES


def test_images_are_counted_by_class_in_the_order_of_the_dataset(trained_study: Path):
    classes = board_of(trained_study).classes
    trained = {row.name: row.trained for row in classes.rows}
    assert trained == dict.fromkeys(CLASSES, 0) | {"glyph l": 2, "glyph k": 1}
    assert {row.tested for row in classes.rows} == {40}
    assert ([*classes.order], classes.trained_images) == ([*reversed(CLASSES)], 3)


def test_of_a_seed_without_predictions_the_next_one_stands_for_it(trained_study: Path):
    (trained_study / "trials/test-best-seed1/predictions.parquet").unlink()
    assert {row.tested for row in board_of(trained_study).classes.rows} == {40}


def test_recalls_and_confusions_follow_from_predictions(predicted: Path):
    result = board_of(predicted)
    worst, other = result.classes.rows
    assert (worst.name, worst.before, worst.after) == ("a", 0.5, 8 / 12)
    assert (other.name, other.before, other.after) == ("b", 0.5, 11 / 12)
    confused = [(p.true, p.predicted, p.before, p.after, p.count) for p in result.classes.confused]
    assert confused == [("a", "b", 0.5, 4 / 12, 4), ("b", "a", 0.5, 1 / 12, 1)]
    assert result.chance == 0.5


def test_without_predictions_of_zero_shot_nothing_was_before(predicted: Path):
    (predicted / "trials/test-zero-shot-seed1/predictions.parquet").unlink()
    classes = board_of(predicted).classes
    assert (
        {row.before for row in classes.rows} == {pair.before for pair in classes.confused} == {None}
    )


def test_before_the_best_configuration_is_tested_there_is_nothing(untested_study: Path):
    classes = board_of(untested_study).classes
    assert (classes.rows, classes.confused, classes.order) == ([], [], ())
