"""The rates that a cell is tried at, and the next ones where the best is at a bound."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from study.config.schema import AblationConfig
from study.method.subsets import parse
from study.search.rate_grid import RateGrid

from .conftest import DEPTHS

SITES = {"bias": "text.mlp.fc2.bias", "ln": "vision.ln1"}


def planned(rates: Any, *tuned: str) -> RateGrid:
    subset = parse(" + ".join(SITES[kind] for kind in tuned) or "none")
    return RateGrid.of_config(AblationConfig(design="only_one", rates=rates), subset, DEPTHS)


CASES = yaml.safe_load(Path(__file__).with_name("rate_grids.yaml").read_text())


@pytest.mark.parametrize("rates, tuned, combinations", CASES["combinations"])
def test_a_cell_is_tried_at_every_combination_of_the_rates_that_it_tunes(
    rates: Any, tuned: list[str], combinations: list[dict[str, float]]
):
    grid = planned(rates, *tuned)
    assert grid.combinations() == combinations
    assert grid.size == len(combinations)


@pytest.mark.parametrize("rates, best, further", CASES["further"])
def test_a_best_rate_at_a_bound_is_followed_by_the_next_in_the_same_ratio(
    rates: list[float], best: float, further: float | None
):
    grid = planned(rates, "bias")
    found = grid.next_rates({"bias": best})
    if further is None:
        assert found == {}
        return
    assert found == pytest.approx({"bias": further, "ln": further})
    assert grid.extended(found).rates["bias", "ln"] == pytest.approx((*rates, further), rel=1e-5)


def test_the_rates_of_each_kind_are_extended_on_their_own_by_one_of_each_list_at_most():
    grid = planned({"bias": [0.1, 0.2, 0.4], "ln": [1.0, 3.0]}, "bias", "ln")
    assert grid.next_rates({"bias": 0.2, "ln": 1.0}) == {"ln": pytest.approx(1 / 3, rel=1e-5)}
    further = grid.next_rates({"bias": 0.4, "ln": 3.0})
    assert further == {"bias": 0.8, "ln": 9.0}
    assert grid.extended(further).size == grid.size_after(1) == 4 * 3
    assert (grid.size_after(0), grid.size_after(3)) == (3 * 2, 6 * 5)
    assert planned({"bias": [0.1], "ln": [0.3, 1.0]}, "bias", "ln").size_after(3) == 5


def test_a_grid_holds_its_own_combinations_and_what_it_was_extended_by_only_afterwards():
    grid = planned([0.1, 0.3], "ln")
    assert grid.contains({"ln": 0.3})
    assert not grid.contains({"ln": 0.9})
    assert grid.extended(grid.next_rates({"ln": 0.3})).contains({"ln": 0.9})


def test_a_shared_rate_is_spelt_without_the_kinds_that_share_it():
    assert planned([0.1, 0.3], "ln").describe({"bias": 1 / 3, "ln": 1 / 3}) == "0.333"
