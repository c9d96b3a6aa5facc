"""The table of sites, and the names that transformers gives to its tensors."""

import pytest
import torch

from study.backbones.architecture import Depths
from study.backbones.backbone import Backbone
from study.errors import SubsetError
from study.method import parameters
from study.method.parameters import (
    Kind,
    ParameterTensor,
    Site,
    count_parameters,
    find_tensor,
    parameter_name,
)
from study.method.subsets import parse
from study.method.training import make_optimizer
from tests.settings import ARCHITECTURE
from tests.staged_case import Case, distance


def test_the_leaf_of_a_name_is_the_one_that_is_named_so():
    for tensor in parse("bitfit + ln").resolve(Depths(text=2, vision=11)):
        assert find_tensor(parameter_name(tensor)) == tensor


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
def test_a_tensor_of_no_site_is_refused_by_name(name: str):
    with pytest.raises(SubsetError, match=f"'{name}' is not a tensor of a site.* mlp.fc2, ln1, "):
        find_tensor(name)


def test_a_leaf_of_no_site_has_no_kind():
    with pytest.raises(SubsetError, match=r"no text\.ln_pre\.bias"):
        _ = ParameterTensor("text", None, "ln_pre", "bias").kind


MATRIX = Site(
    *("mlp.fc2", "mlp.fc2", "mlp", ("weight",), Kind("weight", "weight", "weights")),
    shape=("width", "mlp_width"),
)


def test_one_row_adds_a_site(backbone: Backbone, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parameters, "SITES", (*parameters.SITES, MATRIX))
    subset = parse("vision.mlp.fc2.weight[-1] + clipfit + text.weight[0]")  # the kind is a group
    assert parse(str(subset)) == subset
    case = Case(backbone, str(subset), 1, torch.float64)
    counted = count_parameters(ARCHITECTURE, subset.resolve(ARCHITECTURE.depths))
    assert counted == sum(tuned.parameter.numel() for tuned in case.classifier.tuned)
    expected, found = case.gradients(case.plain()), case.gradients(case.staged())
    assert len([name for name in expected if name.endswith("fc2.weight")]) == 2
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert distance(gradient, expected[name]) < 1e-10, name
    optimizer = make_optimizer(case.classifier.tuned, {"bias": 0.1, "ln": 0.1, "weight": 0.01})
    assert [group["kind"] for group in optimizer.param_groups] == ["bias", "ln", "weight"]
