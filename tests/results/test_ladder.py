"""What a change adds to CLIPFit as published is told in both orders, and with whose rates."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.config.labels import TUNED_LINEAR
from study.results.ladder import ladder, rate_source
from study.storage.ledger_files import JsonObject
from tests.changed_studies import board_of, change_json
from tests.fake_ledger import SEEDS
from tests.fake_studies import add_answer, add_candidate, edit_candidates
from tests.not_none import not_none

HEAD = {"head": "linear", "head_lr": 0.001, "head_steps": 100}


def add_tuned_with_head(folder: Path, effect: float = -0.005, **values: Any) -> Path:
    """Let tuned CLIPFit be tested with a linear head."""
    subset = "text.mlp.fc2.bias + vision.ln"
    settings = {"subset": subset, "bias_lr": 0.01, "ln_lr": 0.01, **HEAD, **values}
    add_candidate(folder, TUNED_LINEAR, effect, val_score=0.7, **settings)
    return folder


def let_a_peer_win(folder: Path, *labels: str):
    """Let these candidates of a study adapt CLIP by LoRA in place of a subset."""

    def use_lora(candidates: list[JsonObject]):
        for candidate in candidates:
            if candidate["label"] in labels:
                peer = {"method": "lora", "lr": 1e-4}
                candidate["settings"].update(subset="none", rates={}, peer=peer)

    edit_candidates(folder, use_lora)


def test_subset_and_head_are_told_in_both_orders_and_as_their_mean(few_shot_study: Path):
    add_answer(few_shot_study)
    board = board_of(add_tuned_with_head(few_shot_study))
    steps = ladder(board)
    crossing = not_none(steps.crossing)
    labels = ["clipfit-tuned", "best-plain", TUNED_LINEAR, "best"]
    assert [corner.label for corner in crossing.corners] == labels
    first, second = crossing.other_order
    assert (first.adds, second.adds) == (("head",), ("subset",))
    neither, subset, head, both = (
        np.array([not_none(board.find_entry(label)).scores[seed] for seed in SEEDS])
        for label in labels
    )
    for paired, by_seed in (
        (first.difference, head - neither),
        (second.difference, both - head),
        (crossing.means["subset",], (subset - neither + both - head) / 2),
        (crossing.means["head",], (head - neither + both - subset) / 2),
    ):
        assert not_none(paired).mean == pytest.approx(by_seed.mean(), abs=1e-8)
        assert not_none(paired).sd == pytest.approx(by_seed.std(ddof=1), abs=1e-8)
    assert not steps.head_in_one_order


def test_a_head_at_another_strength_is_no_corner(few_shot_study: Path):
    add_answer(few_shot_study)
    steps = ladder(board_of(add_tuned_with_head(few_shot_study, strength=0.5)))
    assert steps.crossing is None
    assert steps.head_in_one_order


def test_a_winner_without_a_head_has_nothing_to_cross(few_shot_study: Path):
    for label in ("best-plain", "best-text"):
        add_candidate(few_shot_study, label, same_as="best")
    steps = ladder(board_of(add_tuned_with_head(few_shot_study)))
    assert len(steps.steps) == 4
    assert steps.crossing is None
    assert not steps.head_in_one_order


def test_where_clipfits_own_subset_wins_with_a_head_the_subset_adds_nothing(
    few_shot_study: Path,
):
    add_answer(few_shot_study)

    def let_clipfit_win(candidates: list[JsonObject]):
        for candidate in candidates:
            if candidate["label"] in ("best-plain", "best-text"):
                candidate["same_as"] = "clipfit-tuned"

    edit_candidates(few_shot_study, let_clipfit_win)
    add_candidate(few_shot_study, TUNED_LINEAR, same_as="best", val_score=0.7)
    steps = ladder(board_of(few_shot_study))
    assert steps.crossing is None, "no order of changes differs"
    assert not steps.head_in_one_order
    subset = steps.steps[1]
    assert subset.lower is subset.upper


def test_rates_are_given_or_searched_or_those_of_another_row(few_shot_study: Path):
    add_answer(few_shot_study)
    trial = min((few_shot_study / "trials").glob("search-*")).name
    board = board_of(add_tuned_with_head(few_shot_study, source_trial=trial))
    sources = {"clipfit": "given", "best": "searched", "clipfit-tuned": "searched"}
    for label, expected in {**sources, "best-plain": "borrowed"}.items():
        assert rate_source(board, not_none(board.find_entry(label))) == expected
    path = few_shot_study / "trials" / trial / "config.json"
    for arm, expected in (("variant", "borrowed"), ("search", "searched")):
        change_json(path, arm=arm)
        board = board_of(few_shot_study)
        assert rate_source(board, not_none(board.find_entry(TUNED_LINEAR))) == expected
