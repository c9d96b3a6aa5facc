"""The section ``search``: what is allowed, and what follows from its baselines."""

import pytest

from study.config.loading import build_config
from study.config.search_section import SITES_OF
from study.method.subsets import parse
from tests.config_faults import baselines, clipfit


def test_other_methods_stand_outside_the_trials_and_have_trials_of_their_own():
    methods = {name: {"method": name} for name in ("linear", "full", "lora")}
    given = baselines(mine=clipfit(), **methods)
    search = build_config({"search": {"baselines": given, "method_trials": 5}}, "here").search
    assert list(search.fixed_baselines) == ["zero-shot", "clipfit", "mine", "linear"]
    assert list(search.other_methods) == ["linear", "full", "lora"]
    assert search.planned_trials == search.trials + 1 + 2 * 5
    trials = [
        ("baseline", "mine"),
        ("baseline", "linear"),
        ("search", "trial 7"),
        ("full", "full 9"),
    ]
    assert [search.counts_trial(*trial) for trial in trials] == [True, False, True, False]


@pytest.mark.parametrize("site", sorted({site for sites in SITES_OF.values() for site in sites}))
def test_a_site_of_a_family_is_one_term_without_layers(site: str):
    ((sign, term),) = parse(site).terms
    assert (sign, term.layers) == (1, None)
