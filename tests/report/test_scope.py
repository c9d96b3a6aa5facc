"""What intervals hold for is told, and no more than that; `told/` has it of whole studies."""

from dataclasses import replace

from study.report.scope import interval_scope
from study.results.intervals import mean_interval
from study.results.resampling import Resampled

TESTED = {("best", 1): "hash"}


def told(shared: float) -> str:
    """What is told of scores whose seeds share so much."""
    scores = {"best": mean_interval([0.7, 0.72, 0.71], overlap=shared)}
    return " ".join(interval_scope(Resampled(TESTED, {}, shared), scores))


def test_wider_intervals_are_told_where_seeds_share_much_but_not_all():
    text = told(0.81)
    assert "For other labelled images" in text
    assert "best 71.0 [" in text
    for shared in (0.6, 1.0):
        assert "other labelled images" not in told(shared)
    assert "All seeds trained on the same images" not in told(0.99)


def test_where_nothing_is_trained_there_is_nothing_to_know_of_training_images():
    whole = replace(mean_interval([0.7]), low=0.6, high=0.8)
    text = " ".join(interval_scope(Resampled(TESTED, {}), {"zero-shot": whole}))
    assert "Nothing is trained" in text
    assert "seed" not in text
    assert not [*interval_scope(Resampled({}, {}), {})]
