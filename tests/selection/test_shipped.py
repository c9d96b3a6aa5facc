"""The average ships where it is asked for, and elsewhere the winner or what stands for it."""

import pytest

from study.config.labels import AVERAGE, WITH_DELTA
from study.config.schema import NO_REFIT, RefitConfig
from study.selection.shipped import candidate_to_ship, refit_trial_id
from study.trial.study import Candidate
from tests.settings import settings

BEST = Candidate(label="best", settings=settings("vision.ln"), source_trial="search-0012")
PEER = Candidate(label="best", settings=settings("none").model_copy(update={"head": "linear"}))
AVERAGED = Candidate(
    label=AVERAGE,
    settings=settings("clipfit"),
    source_trial="average-text-0012-0003",
    members=("best", "second"),
)
INSTEAD = Candidate(label=WITH_DELTA, settings=settings("text.ln"))
ASKED = RefitConfig(average=2)


@pytest.mark.parametrize(
    "candidates, refit, shipped",
    [
        (None, ASKED, None),
        ([AVERAGED], ASKED, None),
        ([BEST], ASKED, BEST),
        ([BEST, AVERAGED], ASKED, AVERAGED),
        ([BEST, AVERAGED], NO_REFIT, BEST),
        ([PEER, AVERAGED], ASKED, PEER),
        ([PEER, INSTEAD, AVERAGED], ASKED, INSTEAD),
    ],
)
def test_an_average_ships_if_it_is_asked_for_and_the_winner_is_no_peer(
    candidates: list[Candidate] | None, refit: RefitConfig, shipped: Candidate | None
):
    assert candidate_to_ship(candidates, refit) == shipped


def test_refits_of_other_images_or_members_have_other_names():
    labelled = RefitConfig(images="labelled")
    assert refit_trial_id("member", labelled, BEST) == "member-labelled-0012"
    assert refit_trial_id("refit", labelled, BEST) == "refit-labelled-0012"
    name = "refit-labelled-text-0012-0003"
    assert refit_trial_id("refit", labelled, AVERAGED) == name
    assert refit_trial_id("unknown", labelled, AVERAGED) == "unknown-text-0012-0003"
    assert refit_trial_id("refit", RefitConfig(images="pool"), AVERAGED).startswith("refit-pool-t")
