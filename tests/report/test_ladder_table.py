"""The ladder as a table, with notes that stand there only where they are true."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from study.report.ladder_table import ladder_table
from tests.changed_studies import board_of
from tests.fake_studies import add_answer, add_candidate
from tests.report.conftest import AsKept
from tests.results.test_ladder import add_tuned_with_head, let_a_peer_win


def cross(folder: Path, strength: float):
    """Let all corners of subset and head be tested."""
    add_answer(folder, strength=strength)
    add_tuned_with_head(folder, strength=strength)


def share_rungs(folder: Path):
    """Let the winner have neither head nor strength to take away."""
    for label in ("best-plain", "best-text"):
        add_candidate(folder, label, same_as="best")


def win_by_a_peer(folder: Path):
    cross(folder, strength=1.0)
    let_a_peer_win(folder, "best", "best-plain")


def lack_a_rung(folder: Path):
    add_candidate(folder, "best-text", -0.01)


@pytest.mark.parametrize(
    "name, change",
    [
        ("in-one-order", add_answer),
        ("in-both-orders", partial(cross, strength=1.0)),
        ("with-a-strength", partial(cross, strength=0.75)),
        ("with-rungs-alike", share_rungs),
        ("to-a-peer", win_by_a_peer),
        ("without-a-rung", lack_a_rung),
    ],
)
def test_a_ladder_is_what_was_kept(
    few_shot_study: Path, as_kept: AsKept, name: str, change: Callable[[Path], object]
):
    change(few_shot_study)
    as_kept(f"ladder-{name}", ladder_table(board_of(few_shot_study)).markdown())
