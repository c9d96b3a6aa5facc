"""The average of several tunings of one checkpoint, which is a single model again.

The changes θ − θ₀ are averaged, and a parameter that a member does not tune counts as unchanged.
Source: Wortsman et al. 2022, "Model soups" (arXiv 2203.05482). There all members tune all
parameters; here each may tune others.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from study.method.model import TunedParameter


class Member(NamedTuple):
    """One of the tunings to average."""

    tensors: Mapping[str, Tensor]
    """The tuned parameters θ₀ + α(θ − θ₀), by transformers name."""
    strength: float
    """α; at 0 the member has changed nothing."""


@torch.no_grad()
def write_average(tuned: Iterable[TunedParameter], members: Sequence[Member]) -> None:
    """Write the average of members at full strength into tuned parameters, in place.

    Args:
        tuned: the parameters that any member tunes, of a model that is not trained.
        members: the members, at least one.
    """
    for parameter in tuned:
        initial = parameter.initial
        average = torch.zeros_like(initial)
        for member in members:
            if member.strength and parameter.name in member.tensors:
                change = member.tensors[parameter.name].to(initial) - initial
                average += change / (member.strength * len(members))
        parameter.parameter.copy_(initial + average)
