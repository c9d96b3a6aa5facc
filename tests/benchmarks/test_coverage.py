"""Simulated studies count what the product's own intervals cover, and each cell once."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture
def coverage(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark, whose name is that of a library too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.delitem(sys.modules, "coverage", raising=False)
    yield importlib.import_module("coverage")
    for name in ("coverage", "paired"):
        sys.modules.pop(name, None)


def test_a_cell_counts_every_study_for_each_number_of_seeds(coverage: ModuleType) -> None:
    counts = coverage.count_coverage(coverage.World(), "20", 60, 5, False)
    assert list(counts) == ["3", "5", "10"]
    for own in counts.values():
        assert own["studies"] == 5
        assert own["score covered"] <= 5
        assert 0.3 < own["shared"] / 5 < 0.5, "8 of 20 images are drawn"


def test_seeds_of_their_own_images_share_none_and_of_a_whole_pool_all(coverage: ModuleType) -> None:
    world, rng = coverage.World(), np.random.default_rng(1)
    _, fresh = coverage.drawn_shots(world, 0, 3, rng)
    _, whole = coverage.drawn_shots(world, 8, 3, rng)
    assert not fresh[0] & fresh[1]
    assert whole[0] == whole[1]
    assert len(whole[0]) == 80


def test_a_cell_that_has_a_file_is_not_counted_again(coverage: ModuleType, tmp_path: Path) -> None:
    counted = []

    def count() -> dict[str, dict[str, float]]:
        counted.append(1)
        return {"3": {"studies": 1}}

    for _ in range(2):
        found = coverage.known(tmp_path / "cell.json", count)
        assert found == {"3": {"studies": 1}}
    assert counted == [1]
