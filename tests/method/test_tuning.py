"""A subset's parameters are found in the model by name, and only they require a gradient."""

import published_counts
import pytest
import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel

from study.errors import SubsetError
from study.method.backbone import Backbone
from study.method.model import model_depths, tuned_names, unfreeze
from study.method.subsets import Depths, parse


def without_weights(config: CLIPConfig) -> CLIPModel:
    with torch.device("meta"):
        return CLIPModel(config)


@pytest.fixture(scope="module")
def vit_b16() -> CLIPModel:
    return without_weights(CLIPConfig(vision_config={"patch_size": 16}))


@pytest.fixture(scope="module")
def vit_l14() -> CLIPModel:
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
    }
    return without_weights(CLIPConfig(text_config=text, vision_config=vision, projection_dim=768))


@pytest.mark.parametrize(("subset", "count"), published_counts.VIT_B16)
def test_the_counts_of_vit_b16_are_known(vit_b16: CLIPModel, subset: str, count: int) -> None:
    assert sum(t.parameter.numel() for t in unfreeze(vit_b16, parse(subset))) == count


def test_clipfit_on_vit_l14_tunes_111616_numbers(vit_l14: CLIPModel) -> None:
    assert model_depths(vit_l14) == Depths(text=12, vision=24)
    assert sum(t.parameter.numel() for t in unfreeze(vit_l14, parse("clipfit"))) == 111_616


def test_only_the_subset_requires_a_gradient(backbone: Backbone) -> None:
    clip = backbone.clip.requires_grad_(True)
    tuned = unfreeze(clip, parse("text.mlp.fc2.bias[1] + vision.ln_post.weight"))
    names = [
        "text_model.encoder.layers.1.mlp.fc2.bias",
        "vision_model.post_layernorm.weight",
    ]
    assert [name for name, p in clip.named_parameters() if p.requires_grad] == names
    assert [t.name for t in tuned] == names
    assert [t.kind for t in tuned] == ["bias", "ln"]
    assert all(t.parameter is clip.get_parameter(t.name) for t in tuned)


def test_each_leaf_is_one_tensor_of_the_site_it_names(backbone: Backbone) -> None:
    everything = tuned_names(backbone.clip, parse("bitfit + ln"))
    norms_and_biases = {
        name
        for name, parameter in backbone.clip.named_parameters()
        if parameter.ndim == 1 and "k_proj" not in name and "class_embedding" not in name
    }
    assert set(everything) == norms_and_biases
    ln1 = {name for name, leaf in everything.items() if leaf.site == "ln1"}
    assert ln1 == {name for name in norms_and_biases if ".layer_norm1." in name}


def test_the_initial_value_stays_while_the_parameter_moves(backbone: Backbone) -> None:
    (tuned,) = unfreeze(backbone.clip, parse("vision.ln_post.bias"))
    before = tuned.parameter.detach().clone()
    with torch.no_grad():
        tuned.parameter.add_(1)
    assert torch.equal(tuned.initial, before)
    assert not tuned.initial.requires_grad


@pytest.fixture
def without_post_norm(backbone: Backbone) -> CLIPModel:
    backbone.clip.vision_model.post_layernorm = nn.Identity()
    return backbone.clip


def test_a_site_that_the_model_lacks_is_an_error_naming_the_nearest_it_has(
    without_post_norm: CLIPModel,
) -> None:
    flags = [p.requires_grad for p in without_post_norm.parameters()]
    expected = (
        r"vision\.ln_post\.bias.*vision_model\.post_layernorm\.bias.*vision_model\.pre_layrnorm"
    )
    with pytest.raises(SubsetError, match=expected):
        unfreeze(without_post_norm, parse("clipfit"))
    assert [p.requires_grad for p in without_post_norm.parameters()] == flags
