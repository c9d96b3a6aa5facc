"""The options of training, and their published values.

The values are those of the paper's reference implementation. This module imports no PyTorch, so
that a configuration can be read without it.
"""

from collections.abc import Iterable
from typing import Literal

Optimizer = Literal["sgd", "adamw"]
Regularizer = Literal["cosine", "l2_init", "none"]
Precision = Literal["float32", "bfloat16"]
WantedBalance = Literal["none", "logit_adjusted", "weights", "auto"]
"""How a training makes up for classes of unequal size, or ``auto``, which the images decide."""
WantedPrecision = Literal["float32", "bfloat16", "auto"]
"""A precision, or ``auto``: a study chooses one when it starts."""

UNEQUAL = 2
"""How many times the images of another class a class has at most, without being unequal."""
LEARNING_RATE = 0.002
DISTILL_WEIGHT = 8.0
"""The paper's λ, which is 2 for some of its few-shot datasets."""
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARMUP_LR = 1e-5
"""The learning rate of epoch 0, the warm-up, unless the base rate is smaller."""
CLAP_LR = 0.1
"""The learning rate of CLAP."""
TWO_STAGE_LR = 2e-4
"""The learning rate that each stage of 2SFS begins with."""
MAX_WEIGHT = 10_000
"""The highest weight of a term of the loss, such as λ, and the highest α of LoRA."""


def are_unequal(sizes: Iterable[int]) -> bool:
    """Return whether one class has more than `UNEQUAL` times the images of another."""
    ordered = sorted(sizes)
    return bool(ordered) and ordered[-1] > UNEQUAL * ordered[0]
