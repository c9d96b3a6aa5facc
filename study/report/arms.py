"""The arms of a search: the colour that each has in every chart, of every study."""

from collections.abc import Iterable, Mapping
from itertools import cycle

from study.config.labels import TUNED, VARIANT
from study.method.peers import PEERS
from study.report.charts import BLUE, COLORS, GREEN, GREY, OLIVE, ORANGE, PINK, VIOLET
from study.report.names import candidate_name
from study.results.study_results import BASELINE, SEARCH_ARM

_NAMES = {
    SEARCH_ARM: "subsets and rates",
    TUNED: "rates of CLIPFit",
    BASELINE: "given beforehand",
    VARIANT: "given with head or strength",
}


def arm_name(arm: str) -> str:
    """Return what a reader calls a part of a search; that of a method has its own name."""
    return _NAMES.get(arm, candidate_name(arm))


_COLORS = {SEARCH_ARM: BLUE, TUNED: ORANGE, VARIANT: GREEN, BASELINE: GREY}
_COLORS |= {peer: COLORS[row.color] for peer, row in PEERS.items()}
_FURTHER = (VIOLET, PINK, OLIVE)


def arm_colors(arms: Iterable[str]) -> Mapping[str, str]:
    """Return the colour of each arm, in the order of their names.

    Args:
        arms: the arms of a study: all of them, since peers may have any name, and the colours of
            those that are not known beforehand depend on the others.
    """
    names = sorted(set(arms))
    further = zip((name for name in names if name not in _COLORS), cycle(_FURTHER), strict=False)
    colors = {**_COLORS, **dict(further)}
    return {name: colors[name] for name in names}
