"""The rates that a cell is tried at."""

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


@pytest.mark.parametrize("rates, tuned, combinations", CASES)
def test_a_cell_is_tried_at_every_combination_of_the_rates_that_it_tunes(
    rates: Any, tuned: list[str], combinations: list[dict[str, float]]
):
    grid = planned(rates, *tuned)
    assert grid.combinations() == combinations
    assert grid.size == len(combinations)


def test_a_shared_rate_is_spelt_without_the_kinds_that_share_it():
    assert planned([0.1, 0.3], "ln").describe({"bias": 1 / 3, "ln": 1 / 3}) == "0.333"
