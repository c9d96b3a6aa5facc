"""What intervals hold for is told, and no more than that."""

from dataclasses import replace

from study.report.scope import interval_scope, same_test_sentence
from study.results.intervals import mean_interval
from study.results.resampling import Resampled
from tests.not_none import not_none

SCORES = {
    "best": mean_interval([0.7, 0.72, 0.71], overlap=0.8),
    "other": mean_interval([0.6, 0.64, 0.65], overlap=0.8),
}
TESTED = {("best", 1): "hash"}


def told(shared: float | None = None, *, single: bool = False) -> str:
    """What is told of scores whose seeds share so much."""
    return " ".join(interval_scope(Resampled(TESTED, {}, shared, single), SCORES))


def test_the_share_of_common_training_images_is_printed() -> None:
    assert "Two seeds share 31 % of their training images" in told(0.31)
    assert "not known" in told(None)
    assert "not known" not in told(0.31)


def test_intervals_are_said_to_hold_for_the_labelled_images_at_hand() -> None:
    assert "labelled images at hand" in told(0.31)
    assert "labelled images at hand" not in told(1.0)


def test_one_more_line_has_the_wider_intervals_where_seeds_share_much() -> None:
    assert "other labelled images" not in told(0.6)
    text = told(0.81)
    assert "For other labelled images" in text
    wider = not_none(SCORES["other"].wider)
    assert f"other 63.0 [{100 * wider.low:.1f}, {100 * wider.high:.1f}]" in text


def test_where_all_seeds_trained_on_the_same_images_nothing_is_claimed_about_others() -> None:
    text = told(1.0)
    assert "All seeds trained on the same images" in text
    assert "no difference is tested" in text
    assert "For other labelled images" not in text
    assert "All seeds trained on the same images" not in told(0.99)


def test_what_is_left_out_of_test_images_is_told_with_its_reason() -> None:
    assert "single test image" in told(0.3, single=True)
    assert "single test image" not in told(0.3)
    assert "No predictions were kept" in " ".join(interval_scope(Resampled({}, {}, 0.3), SCORES))
    assert "No predictions were kept" not in told(0.3)


def test_one_seed_says_nothing_about_other_training_images() -> None:
    text = " ".join(interval_scope(Resampled(TESTED, {}), {"best": mean_interval([0.7])}))
    assert "With one seed, nothing is known about other training images." in text
    assert "labelled images at hand" not in text


def test_where_nothing_is_trained_there_is_nothing_to_know_of_training_images() -> None:
    whole = replace(mean_interval([0.7]), low=0.6, high=0.8)
    text = " ".join(interval_scope(Resampled(TESTED, {}), {"zero-shot": whole}))
    assert "Nothing is trained" in text
    assert "seed" not in text


def test_the_wider_interval_of_a_tested_difference_is_told_too() -> None:
    found = {"winner − other": mean_interval([0.02, 0.04, 0.03], overlap=0.8)}
    assert "winner − other +3.0 [" in " ".join(
        interval_scope(Resampled(TESTED, {}, 0.8), SCORES, found)
    )
    assert "winner" not in " ".join(interval_scope(Resampled(TESTED, {}, 0.5), SCORES, found))


def test_without_scores_there_is_nothing_to_tell() -> None:
    assert interval_scope(Resampled({}, {}), {}) == ()


def test_the_sentence_counts_and_is_not_there_for_none() -> None:
    assert same_test_sentence(0) == ""
    assert same_test_sentence(1).startswith("1 other study in this storage read the same")
    assert same_test_sentence(3).startswith("3 other studies in this storage read the same")
