"""What a study ships, where that is not the winner as it was tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.results.leaderboard import Leaderboard


def shipped_name(board: Leaderboard) -> str:
    """Return what ships, in words."""
    if board.shipped is board.winner:
        return "the winner"
    return "the best configuration that writes a delta"
