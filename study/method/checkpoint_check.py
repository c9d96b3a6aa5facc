"""Faults of a loaded checkpoint that would make every feature useless."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def weights_fault(weights: Iterable[tuple[str, NDArray[Any]]]) -> str | None:
    """Return which weights are useless, as a message; None if there are none.

    NaN and infinity spread to every feature. A bias may be all zeros; a weight that is comes from a
    file whose end was never written.

    Args:
        weights: every parameter of a `CLIPModel` by its name, of any floating-point type.
    """
    broken: list[str] = []
    zero: list[str] = []
    count = 0
    for name, values in weights:
        count += 1
        # The minimum is NaN if any value is; a value too large for float32 loads as infinity.
        with np.errstate(over="ignore"):
            low, high = np.float32(values.min(initial=0)), np.float32(values.max(initial=0))
        if not (np.isfinite(low) and np.isfinite(high)):
            broken.append(name)
        elif name.endswith(".weight") and low == high == 0:
            zero.append(name)
    if broken:
        return f"NaN or infinity in {len(broken)} of its {count} tensors, first {broken[0]}"
    if zero:
        return f"nothing but zeros in {len(zero)} of its {count} tensors, first {zero[0]}"
    return None


def has_words(tokenizer: Any) -> bool:
    """Return whether a tokenizer has any token that is not special.

    If its files are missing, transformers makes one that reads every word as end-of-text.
    """
    return not set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens)
