"""Which version of a registered model is champion: what decides, and the reason in words."""

import math
from collections.abc import Mapping

from study.tracking.mlflow.run_content import SCORE

VAL_ERROR, BEATS_CHANCE = "val_error", "beats_chance"
"""The tags of a version with the standard error of its validation score over other images, and with
whether it is shown to beat chance on test, where that is known."""
SHOWN, NOT_SHOWN = "shown", "not shown"
NORMAL = 1.96
"""The quantile of the normal distribution for a two-sided interval of 95 %."""


def judge(challenger: Mapping[str, str], champion: Mapping[str, str] | None) -> tuple[bool, str]:
    """Return whether a version should be champion, and why.

    Args:
        challenger: the tags of the new version.
        champion: the tags of the present champion; None if there is none.
    """
    if champion is None:
        return True, "it is the first"
    compared = {"protocol": "protocol", "selection": "selection rule", "split_hash": "split"}
    for key, what in compared.items():
        if challenger[key] != champion.get(key):
            return False, (
                f"the new one was chosen under another {what} ({champion.get(key)}, here "
                f"{challenger[key]}) and validation scores do not compare"
            )
    if challenger.get(BEATS_CHANCE) == NOT_SHOWN and champion.get(BEATS_CHANCE) != NOT_SHOWN:
        return False, "the new one is not shown to beat chance on test"
    own, other = (float(tags[SCORE]) for tags in (challenger, champion))
    noise = _noise(challenger, champion, own - other)
    if own > other:
        return True, (
            f"its validation score is {own:.1%}, and that of study '{champion.get('study')}' is "
            f"{other:.1%}{noise}"
        )
    return False, (
        f"the new one has {own:.1%} on validation, no better than study "
        f"'{champion.get('study')}' ({other:.1%}{noise})"
    )


def _noise(challenger: Mapping[str, str], champion: Mapping[str, str], difference: float) -> str:
    """Return a clause where two validation scores do not differ by more than noise.

    The images are the same, so that the error of the difference is at most that of independent
    scores. It is empty where a version does not say how sure its score is.
    """
    errors = [float(tags[VAL_ERROR]) for tags in (challenger, champion) if VAL_ERROR in tags]
    if len(errors) < 2 or abs(difference) > NORMAL * math.hypot(*errors):
        return ""
    return ", within noise"
