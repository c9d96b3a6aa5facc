"""The names of the arms of a search, and their colours, which are the same in all charts."""

from collections.abc import Iterable, Mapping
from itertools import cycle

from study.config.labels import TUNED
from study.method.peers import PEERS
from study.report.charts import BLUE, COLORS, GREY, OLIVE, ORANGE, PINK, VIOLET
from study.report.names import candidate_name
from study.results.trial_results import BASELINE, SEARCH_ARM

_NAMES = {
    SEARCH_ARM: "subsets and rates",
    TUNED: "rates of CLIPFit",
    BASELINE: "given beforehand",
}
_COLORS = {SEARCH_ARM: BLUE, TUNED: ORANGE, BASELINE: GREY}
_COLORS |= {peer: COLORS[row.color] for peer, row in PEERS.items()}
_FURTHER = (VIOLET, PINK, OLIVE)
"""The colours of arms that are not known beforehand, in turn."""


def arm_name(arm: str) -> str:
    """Return the name of a part of a search for readers; the arm of a peer has the peer's name."""
    return _NAMES.get(arm, candidate_name(arm))


def arm_colors(arms: Iterable[str]) -> Mapping[str, str]:
    """Return the colour of each arm, in the order of their names.

    Args:
        arms: all arms of a study. Peers may have any name, and the colour of an arm that is not
            known beforehand depends on the others.
    """
    further = cycle(_FURTHER)
    colors = {}
    for arm in sorted(set(arms)):
        colors[arm] = _COLORS.get(arm) or next(further)
    return colors
