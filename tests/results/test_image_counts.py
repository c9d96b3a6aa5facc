"""The images of each class are counted that the choice was trained and tested on."""

from pathlib import Path

from study.results.image_counts import image_counts
from tests.changed_studies import board_of
from tests.fake_ledger import CLASSES


def test_images_are_counted_by_class_in_the_order_of_the_dataset(trained_study: Path):
    counts = image_counts(board_of(trained_study))
    assert counts.trained == {"glyph l": 2, "glyph k": 1}
    assert set(counts.tested) == {("accuracy", name) for name in CLASSES}
    assert set(counts.tested.values()) == {40}
    assert counts.order == [*reversed(CLASSES)]


def test_before_a_choice_is_tested_nothing_is_counted(unconfirmed_study: Path):
    counts = image_counts(board_of(unconfirmed_study))
    assert (counts.trained, counts.tested, counts.order) == (None, {}, ())
