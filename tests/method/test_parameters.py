"""The table of sites, and the names that transformers gives to its tensors."""

import pytest
import torch

from study.backbones.architecture import Depths
from study.backbones.backbone import Backbone
from study.errors import SubsetError
from study.method import parameters
from study.method.model import tuned_names
from study.method.parameters import Kind, Site, count_parameters, find_tensor, parameter_name
from study.method.subsets import parse
from study.method.training import make_optimizer
from tests.settings import ARCHITECTURE
from tests.staged_case import Case, assert_close_gradients


def test_each_bias_and_norm_but_the_keys_is_a_site_of_its_name(backbone: Backbone):
    tensors = tuned_names(backbone.clip, parse("bitfit + ln"))
    assert set(tensors) == {
        name
        for name, parameter in backbone.clip.named_parameters()
        if parameter.ndim == 1 and "k_proj" not in name and "class_embedding" not in name
    }
    first = {name for name, tensor in tensors.items() if tensor.site == "ln1"}
    assert first == {name for name in tensors if ".layer_norm1." in name}
    for tensor in parse("bitfit + ln").resolve(Depths(text=2, vision=11)):
        assert find_tensor(parameter_name(tensor)) == tensor


@pytest.mark.parametrize(
    "name",
    [
        "text_projection.weight",
        "text_model.encoder.layers.0.self_attn.k_proj.bias",
        "text_model.encoder.layers.0.mlp.fc2.weight",
        "text_model.mlp.fc2.bias",  # outside the blocks
        "text_model.pre_layrnorm.bias",  # of the other encoder
        "vision_model.encoder.layers.0.post_layernorm.bias",  # in a block
    ],
)
def test_a_tensor_of_no_site_is_refused_by_name(name: str):
    with pytest.raises(SubsetError, match=f"'{name}' does not belong to a site.* mlp.fc2, ln1, "):
        find_tensor(name)


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
    found = assert_close_gradients(case, 1e-10)
    assert len([name for name in found if name.endswith("fc2.weight")]) == 2
    optimizer = make_optimizer(case.classifier.tuned, {"bias": 0.1, "ln": 0.1, "weight": 0.01})
    assert [group["kind"] for group in optimizer.param_groups] == ["bias", "ln", "weight"]
