"""The images of each class are counted that the choice was trained and tested on."""

from pathlib import Path

from study.report.confusion_tables import recall_chart
from study.results.image_counts import image_counts
from tests.changed_studies import board_of
from tests.fake_ledger import CLASSES


def test_images_are_counted_by_class_in_the_order_of_the_dataset(trained_study: Path):
    counts = image_counts(board_of(trained_study))
    assert counts.trained == {"glyph l": 2, "glyph k": 1}
    assert set(counts.tested) == {("accuracy", name) for name in CLASSES}
    assert set(counts.tested.values()) == {40}
    assert [*counts.order] == [*reversed(CLASSES)]


def test_of_a_seed_without_predictions_the_next_one_stands_for_it(trained_study: Path):
    whole = image_counts(board_of(trained_study))
    (trained_study / "trials/test-best-seed1/predictions.parquet").unlink()
    board = board_of(trained_study)
    assert image_counts(board).tested == whole.tested
    assert recall_chart(board).panels_with_marks


def test_before_a_choice_is_tested_nothing_is_counted(untested_study: Path):
    counts = image_counts(board_of(untested_study))
    assert (counts.trained, counts.tested, counts.order) == (None, {}, ())
