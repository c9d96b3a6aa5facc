"""Simulated studies count what the product's own intervals cover."""

import numpy as np

from tests.benchmarks.answer.intervals import World, coverage_records


def test_every_study_is_counted_for_each_number_of_seeds() -> None:
    records = coverage_records(World(), "20", 60, 5)
    assert [record["seeds"] for record in records] == [3, 5, 10] * 5
    shared = [record["shared %"] for record in records]
    assert 0.3 < np.mean(shared) < 0.5, "8 of 20 images are drawn"


def test_seeds_of_fresh_images_share_none_and_of_a_whole_pool_all() -> None:
    world, rng = World(), np.random.default_rng(1)
    _, fresh = world.draw_shots(0, 3, rng)
    _, whole = world.draw_shots(8, 3, rng)
    assert not fresh[0] & fresh[1]
    assert whole[0] == whole[1]
    assert len(whole[0]) == 80
