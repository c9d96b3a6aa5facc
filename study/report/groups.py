"""The names of the groups of a search, and their colours, which are the same in all charts."""

from collections.abc import Iterable, Mapping
from itertools import cycle

from study.config.labels import BASELINE, OPEN, TUNED
from study.method.peers import PEERS
from study.report.charts import BLUE, COLORS, GREY, OLIVE, ORANGE, PINK, VIOLET
from study.report.names import candidate_name

_NAMES = {
    OPEN: "subsets and rates",
    TUNED: "rates of CLIPFit",
    BASELINE: "given beforehand",
}
_COLORS = {OPEN: BLUE, TUNED: ORANGE, BASELINE: GREY}
_COLORS |= {peer: COLORS[row.color] for peer, row in PEERS.items()}
_FURTHER = (VIOLET, PINK, OLIVE)
"""The colours of groups that are not known beforehand, in turn."""


def group_name(group: str) -> str:
    """Return the name of a group for readers; that of another method has the method's name."""
    return _NAMES.get(group, candidate_name(group))


def group_colors(groups: Iterable[str]) -> Mapping[str, str]:
    """Return the colour of each group, in the order of their names.

    Args:
        groups: all groups of a study. Other methods may have any name, and the colour of a group
            that is not known beforehand depends on the others.
    """
    further = cycle(_FURTHER)
    colors = {}
    for group in sorted(set(groups)):
        colors[group] = _COLORS.get(group) or next(further)
    return colors
