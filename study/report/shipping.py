"""What a study ships, where that is not the winner as it was tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.results.leaderboard import Leaderboard

FOUND = (
    "calls {found} of the images of unknown classes unknown: those of data.other=foreign, or else, "
    "by models that were trained without a part of the classes, with fewer names, and on classes "
    "of the same dataset"
)
"""What was found of images of unknown classes, less the score."""


def shipped_name(board: Leaderboard) -> str:
    """Return what ships, in words."""
    if board.shipped is board.winner:
        return "the winner"
    return "the best configuration that writes a delta"
