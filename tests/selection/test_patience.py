"""The end of a search: what the next trials promise, and what ends once has ended for good."""

from itertools import permutations
from pathlib import Path
from statistics import fmean

import pytest

from study.selection.patience import Patience, expected_gain, read_search_end
from study.storage.study_folder import StudyFolder
from tests.case_tables import from_table


def test_the_gain_is_the_mean_rise_by_the_last_trials_over_all_their_orders():
    assert expected_gain([0.8, 0.9], trials=4, following=2) == pytest.approx(0.1 / 2 + 0.8 / 6)
    scores = [0.5, 0.7, 0.6, 0.7, 0.0]
    rises = [max(order) - max(order[:-3]) for order in permutations(scores)]
    assert expected_gain(scores[:-1], trials=5, following=3) == pytest.approx(fmean(rises))


@from_table
def test_a_search_ends_when_a_tenth_of_the_error_is_more_than_the_gain(
    tmp_path: Path, error: float | None, free: int, ends: bool
):
    folder = StudyFolder(tmp_path)
    asked = []

    def standard_error(trial_id: str, score: float) -> float | None:
        asked.append((trial_id, score))
        return error

    patience = Patience(folder, standard_error)
    for number in range(15):
        patience.add(f"t-{number}", "search" if number < free else "baseline", 0.5)
    for number in range(15, 20):
        patience.add(f"t-{number}", "baseline", None)
    patience.add("best", "baseline", 0.55)
    assert patience.has_ended() == ends  # 0.05 * 10 / 21, as the others of 0.5 are many
    end = read_search_end(folder)
    assert (end is not None) == ends
    if free == 10:
        assert asked == [("best", 0.55)]
    if end:
        assert (end.trials, end.error) == (21, 0.3)
        assert "after 21 trials: the next 10 were expected" in end.sentence
        assert "by 2.38 points, less than a tenth of its standard error of 30.0" in end.sentence
    assert Patience(folder, standard_error).has_ended() == ends, "for good"
