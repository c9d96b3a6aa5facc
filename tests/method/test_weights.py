"""Weights that no useful feature can come of are named, and sound ones pass."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from study.backbones.backbone import Backbone, has_words, weights_fault

Weights = dict[str, NDArray[np.floating]]


def weights(**changes: NDArray[np.floating]) -> Weights:
    """Three sound tensors, one of which is a bias of zeros, and the changes."""
    sound = {"a.weight": np.ones((2, 3)), "a.bias": np.zeros(3), "b.weight": np.array([0.0, -1.0])}
    return {**sound, **{name.replace("_", "."): values for name, values in changes.items()}}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_sound_weights_have_no_fault_in_any_type(dtype: str) -> None:
    assert weights_fault((n, v.astype(dtype)) for n, v in weights().items()) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_float32_cannot_hold_is_named_with_its_first_tensor(value: float) -> None:
    broken = weights(a_bias=np.array([0.0, value, 1.0]), b_weight=np.array([value]))
    told = weights_fault(broken.items())
    assert told == "NaN or infinity in 2 of its 3 tensors, first a.bias"


def test_a_weight_of_zeros_is_a_fault_and_a_bias_of_zeros_is_none() -> None:
    told = weights_fault(weights(b_weight=np.zeros(2)).items())
    assert told == "nothing but zeros in 1 of its 3 tensors, first b.weight"


def test_a_tokenizer_of_special_tokens_alone_has_no_words(backbone: Backbone) -> None:
    assert has_words(backbone.tokenizer)
    special = ["<s>", "</s>"]
    empty = SimpleNamespace(get_vocab=lambda: {"<s>": 0}, all_special_tokens=special)
    assert not has_words(empty)
