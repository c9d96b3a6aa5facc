"""Simulated studies count what the product's own intervals cover."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture
def intervals(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield importlib.import_module("intervals")
    for name in ("intervals", "paired"):
        sys.modules.pop(name, None)


def test_a_cell_counts_every_study_for_each_number_of_seeds(intervals: ModuleType) -> None:
    counts = intervals.count_coverage(intervals.World(), "20", 60, 5, False)
    assert list(counts) == ["3", "5", "10"]
    for own in counts.values():
        assert own["studies"] == 5
        assert own["score covered"] <= 5
        assert 0.3 < own["shared"] / 5 < 0.5, "8 of 20 images are drawn"


def test_seeds_of_fresh_images_share_none_and_of_a_whole_pool_all(
    intervals: ModuleType,
) -> None:
    world, rng = intervals.World(), np.random.default_rng(1)
    _, fresh = intervals.drawn_shots(world, 0, 3, rng)
    _, whole = intervals.drawn_shots(world, 8, 3, rng)
    assert not fresh[0] & fresh[1]
    assert whole[0] == whole[1]
    assert len(whole[0]) == 80
