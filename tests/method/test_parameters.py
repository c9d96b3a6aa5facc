"""The table of sites, and the names that transformers gives to its tensors."""

import subprocess
import sys

import pytest

from study.errors import SubsetError
from study.method.parameters import Leaf, all_kinds, leaf_of, parameter_name
from study.method.subsets import Depths, parse


def test_layer_1_is_not_layer_10() -> None:
    (leaf,) = parse("text.mlp.fc2.bias[1]").resolve(Depths(text=12, vision=12))
    assert parameter_name(leaf) == "text_model.encoder.layers.1.mlp.fc2.bias"


def test_the_leaf_of_a_name_is_the_one_that_is_named_so() -> None:
    for leaf in parse("bitfit + ln").resolve(Depths(text=2, vision=11)):
        assert leaf_of(parameter_name(leaf)) == leaf


@pytest.mark.parametrize(
    "name",
    [
        "logit_scale",
        "text_projection.weight",
        "text_model.encoder.layers.0.self_attn.k_proj.bias",
        "text_model.encoder.layers.0.mlp.fc2.weight",
        "text_model.mlp.fc2.bias",  # outside the blocks
        "text_model.pre_layrnorm.bias",  # of the other encoder
        "vision_model.encoder.layers.0.post_layernorm.bias",  # in a block
        "audio_model.encoder.layers.0.mlp.fc2.bias",
    ],
)
def test_a_tensor_of_no_site_is_refused_by_name(name: str) -> None:
    with pytest.raises(SubsetError, match=f"'{name}' is no tensor of a site.* mlp.fc2, ln1, "):
        leaf_of(name)


def test_a_leaf_of_no_site_has_no_kind() -> None:
    with pytest.raises(SubsetError, match=r"no text\.ln_pre\.bias"):
        _ = Leaf("text", None, "ln_pre", "bias").kind


def test_biases_come_before_layer_norms() -> None:
    assert [(kind.name, kind.short, kind.plural) for kind in all_kinds()] == [
        ("bias", "bias", "biases"),
        ("ln", "LN", "LayerNorms"),
    ]


def test_the_table_and_the_language_do_not_import_torch() -> None:
    code = "import sys, study.method.subsets; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
