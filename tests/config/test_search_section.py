"""The section ``search``: what is allowed, and what follows from its baselines."""

import pytest

from study.config.loading import build_config
from study.config.search_section import SITES_OF
from study.method.subsets import parse
from tests.config_faults import baselines, check_faults, clipfit

test_a_fault_of_the_search_is_told_with_its_path = check_faults("search_section")


def test_peers_stand_outside_the_trials_and_have_trials_of_their_own() -> None:
    peers = {"full": {"peer": "full"}, "lora": {"peer": "lora"}}
    linear = {"subset": "none", "head": "linear"}
    given = baselines(mine=clipfit(), linear=linear, **peers)
    search = build_config({"search": {"baselines": given, "peer_trials": 5}}, "here").search
    assert list(search.fixed_baselines) == ["zero-shot", "clipfit", "mine", "linear"]
    assert list(search.peer_arms) == ["full", "lora"]
    assert search.peers == ("linear", "full", "lora")
    assert search.peer_methods == {"full": "full", "lora": "lora"}
    assert search.planned_trials == search.trials + 1 + 2 * 5
    assert search.counts_trial("baseline", "mine")
    assert not search.counts_trial("baseline", "linear")
    assert not search.counts_trial("variant", "mine")


@pytest.mark.parametrize("site", sorted({site for sites in SITES_OF.values() for site in sites}))
def test_a_site_of_a_family_is_one_term_without_layers(site: str) -> None:
    ((sign, term),) = parse(site).terms
    assert (sign, term.layers) == (1, None)
