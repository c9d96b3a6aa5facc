"""A subset's parameters are found in the model by name, and only they require a gradient."""

import pytest
from torch import nn

from study.backbones.backbone import Backbone
from study.errors import SubsetError
from study.method.model import FewShotClassifier, tuned_names
from study.method.subsets import parse


def test_only_the_subset_requires_a_gradient(backbone: Backbone):
    backbone.clip.requires_grad_(True)
    subset = parse("text.mlp.fc2.bias[1] + vision.ln_post.weight")
    classifier = FewShotClassifier(backbone, subset)
    clip, tuned = classifier.clip, classifier.tuned
    names = [
        "text_model.encoder.layers.1.mlp.fc2.bias",
        "vision_model.post_layernorm.weight",
    ]
    assert [name for name, p in clip.named_parameters() if p.requires_grad] == names
    assert [t.name for t in tuned] == names
    assert [t.kind for t in tuned] == ["bias", "ln"]
    assert all(t.parameter is clip.get_parameter(t.name) for t in tuned)


def test_each_leaf_is_one_tensor_of_the_site_it_names(backbone: Backbone):
    everything = tuned_names(backbone.clip, parse("bitfit + ln"))
    norms_and_biases = {
        name
        for name, parameter in backbone.clip.named_parameters()
        if parameter.ndim == 1 and "k_proj" not in name and "class_embedding" not in name
    }
    assert set(everything) == norms_and_biases
    ln1 = {name for name, leaf in everything.items() if leaf.site == "ln1"}
    assert ln1 == {name for name in norms_and_biases if ".layer_norm1." in name}


def test_a_site_that_the_model_lacks_is_an_error_naming_the_nearest_it_has(
    backbone: Backbone,
):
    backbone.clip.vision_model.post_layernorm = nn.Identity()
    flags = [p.requires_grad for p in backbone.clip.parameters()]
    expected = (
        r"vision\.ln_post\.bias.*vision_model\.post_layernorm\.bias.*vision_model\.pre_layrnorm"
    )
    with pytest.raises(SubsetError, match=expected):
        FewShotClassifier(backbone, parse("clipfit"))
    assert [p.requires_grad for p in backbone.clip.parameters()] == flags
