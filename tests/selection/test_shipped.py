"""The best configuration ships, or the best that can be written where that writes no delta."""

import pytest

from study.config.labels import WITH_DELTA
from study.config.schema import RefitConfig
from study.selection.shipped import candidate_to_ship, refit_trial_id
from study.trial.study import Candidate
from tests.settings import settings

BEST = Candidate(label="best", settings=settings("vision.ln"), source_trial="search-0012")
INSTEAD = Candidate(label=WITH_DELTA, settings=settings("text.ln"))


@pytest.mark.parametrize(
    "candidates, shipped",
    [(None, None), ([INSTEAD, BEST], INSTEAD), ([BEST], BEST)],
)
def test_what_ships_can_be_written(candidates: list[Candidate] | None, shipped: Candidate | None):
    assert candidate_to_ship(candidates) == shipped


def test_refits_of_other_images_have_other_names():
    assert refit_trial_id(RefitConfig(images="pool"), BEST) == "refit-pool-0012"
