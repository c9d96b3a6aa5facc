"""A model as a classifier: what it shares, tunes and finds, and what it predicts."""

from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from study.backbones.backbone import Backbone
from study.errors import SubsetError
from study.method import model
from study.method.model import (
    FewShotClassifier,
    classify,
    encode_prompts,
    tuned_names,
)
from study.method.subsets import parse
from tests.small_clips import END, VOCABULARY, MakeBackbone


def test_classifiers_share_frozen_storage_and_own_what_they_tune(backbone: Backbone):
    first = FewShotClassifier(backbone, parse("clipfit"))
    second = FewShotClassifier(backbone, parse("text.bias"))
    for name, parameter in backbone.clip.named_parameters():
        for classifier in (first, second):
            shared = classifier.clip.get_parameter(name).data_ptr() == parameter.data_ptr()
            assert shared == (name not in {t.name for t in classifier.tuned}), name


@pytest.mark.parametrize("end", [VOCABULARY[END], 2], ids=["new", "legacy"])
def test_cutting_after_end_of_text_gives_the_features_of_77_tokens(
    make_backbone: MakeBackbone, end: int
):
    backbone = make_backbone(eos_token_id=end)
    classifier = FewShotClassifier(backbone, parse("clipfit")).double()
    prompts = ["a photo of a cat", "a red dog", "bird"]
    rows = backbone.tokenizer(prompts, padding="max_length", max_length=77)["input_ids"]
    whole, cut = torch.tensor(rows), backbone.tokenize(prompts)
    assert (whole.shape, cut.shape) == ((3, 77), (3, 7))
    features = classifier.encode_text(cut)
    assert features.dtype == torch.float64
    torch.testing.assert_close(features, classifier.encode_text(whole), atol=1e-12, rtol=0)


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
    ln1 = {name for name, tensor in everything.items() if tensor.site == "ln1"}
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


@pytest.fixture
def classifier(backbone: Backbone) -> FewShotClassifier:
    return FewShotClassifier(backbone, parse("clipfit"))


def test_predictions_are_the_nearest_classes_in_the_order_of_the_images(
    classifier: FewShotClassifier, pixel_values: Tensor
):
    # Each image's own feature is a class, in reverse: the nearest class is then known.
    features = classifier.encode_image(pixel_values).flip(0).detach()
    batches = map(classifier.encode_image, pixel_values.split([4, 2]))
    labels = torch.tensor([5, 0, 3, 3, 1, 2])
    predictions, probabilities = classify(classifier, batches, features, labels)
    assert predictions.tolist() == [5, 4, 3, 2, 1, 0]
    assert predictions.dtype == torch.int64
    expected = classifier.logits(features, features).softmax(dim=1).flip(0)
    torch.testing.assert_close(probabilities[0], expected.amax(dim=1))
    torch.testing.assert_close(probabilities[1], expected[torch.arange(6), labels])


def test_no_batches_give_no_predictions(classifier: FewShotClassifier):
    rows, probabilities = classify(classifier, [], torch.zeros(3, 24), torch.zeros(0).long())
    assert (rows.shape, probabilities.shape) == ((0,), (2, 0))
    assert rows.dtype == torch.int64


def test_templates_of_a_class_are_averaged_at_unit_length(
    classifier: FewShotClassifier, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    ids = backbone.tokenize(["a cat", "photo of a cat", "a dog", "photo of a dog"])
    sums = classifier.encode_text(ids).detach().unflatten(0, (2, 2)).sum(dim=1)
    expected = sums / sums.norm(dim=-1, keepdim=True)
    encode_text = Mock(wraps=classifier.encode_text)
    monkeypatch.setattr(classifier, "encode_text", encode_text)
    for at_once, sizes in ((4, [4]), (3, [3, 1])):
        encode_text.reset_mock()
        monkeypatch.setattr(model, "PROMPTS_AT_ONCE", at_once)
        features = encode_prompts(classifier, ids, templates=2)
        assert not features.requires_grad
        torch.testing.assert_close(features, expected)
        assert [len(call.args[0]) for call in encode_text.call_args_list] == sizes
