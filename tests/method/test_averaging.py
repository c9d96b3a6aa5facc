"""The average of several tunings is the mean of their changes."""

import torch
from torch import nn

from study.method.averaging import Member, write_average
from study.method.model import TunedParameter

NAMES = ("both", "one", "neither")


def tuned(start: float) -> list[TunedParameter]:
    """Three parameters that have not been trained."""
    return [TunedParameter(n, "bias", nn.Parameter(torch.full((2,), start))) for n in NAMES]


def member(strength: float = 1.0, **values: float) -> Member:
    """What a member tuned."""
    return Member({n: torch.full((2,), value) for n, value in values.items()}, strength)


def averaged(start: float, *members: Member) -> dict[str, float]:
    parameters = tuned(start)
    write_average(parameters, members)
    return {t.name: t.parameter[0].item() for t in parameters}


def test_changes_are_averaged_and_what_a_member_does_not_tune_is_unchanged():
    members = [member(both=3.0, one=5.0), member(both=2.0)]
    assert averaged(1.0, *members) == {"both": 2.5, "one": 3.0, "neither": 1.0}


def test_members_of_any_strength_are_averaged_at_full_strength():
    members = [member(0.5, both=2.0), member(0.25, both=2.0), member(0.0, both=1.0)]
    assert averaged(1.0, *members)["both"] == 1 + (2 + 4 + 0) / 3
