"""The staged pass gives what the reading version gives: features and gradients alike."""

import pytest
import torch
from torch import nn

from study.backbones.backbone import Backbone
from study.errors import SubsetError
from study.method import parameters
from study.method.model import FewShotClassifier, TunedParameter
from study.method.parameters import Site
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from tests.staged_case import Case, assert_close_gradients

SUBSETS = [
    *("clipfit", "bitfit", "ln", "text-bias", "vision.ln"),
    *("text.mlp.fc2.bias[1]", "text.ln_final", "vision.ln_post", "vision.attn.q.bias[2]"),
    *("text.ln1[1] + vision.mlp.fc1.bias[1:3]", "vision.ln_pre.weight + text.ln2.bias[0]"),
]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("subset", SUBSETS)
def test_it_equals_the_reading_version(
    backbone: Backbone, subset: str, number: int, dtype: torch.dtype
):
    assert_close_gradients(Case(backbone, subset, number, dtype), TOLERANCE[dtype])


@pytest.mark.parametrize(
    "subset, stage",
    [
        ("vision.ln_pre", 0),
        ("vision.ln1[0]", 1),
        ("vision.attn.out.bias[0]", 1),
        ("vision.mlp.fc1.bias[0]", 2),
        ("vision.ln2[1:]", 4),
        ("vision.ln_post", 7),
        ("text.bias", 8),
    ],
)
def test_images_begin_where_something_is_tuned(backbone: Backbone, subset: str, stage: int):
    staged = StagedClassifier(FewShotClassifier(backbone, parse(subset)))
    assert staged.vision.first == stage
    size = backbone.image_size
    shapes = [(2, 5, 32)] * 6 + [(2, 1, 32)] * 3
    begun = staged.begin_images(torch.zeros(2, 3, size, size))
    assert begun.shape == shapes[stage]
    assert not begun.requires_grad


def test_each_distinct_prefix_is_encoded_once(backbone: Backbone):
    staged = StagedClassifier(FewShotClassifier(backbone, parse("clipfit")))
    prompts = staged.begin_prompts(backbone.tokenize(["a c", "a d", "a c"]))
    # The start and "a" are shared; the third prompt is the first.
    assert len(prompts.hidden) == 2 + 2 + 2
    assert not prompts.hidden.requires_grad


@pytest.mark.parametrize(
    "row",
    [
        Site("patch", "embeddings.patch_embedding", None, ("weight",), in_blocks=False),
        # A block's tensor is in no stage that comes before or after the blocks.
        Site("attn.k", "self_attn.k_proj", "after", ("weight",)),
    ],
    ids=lambda row: row.name,
)
def test_a_tensor_that_no_stage_reads_is_refused_by_name(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, row: Site
):
    monkeypatch.setattr(parameters, "SITES", (*parameters.SITES, row))
    classifier = FewShotClassifier(backbone, parse(f"clipfit + vision.{row.name}.weight"))
    with pytest.raises(SubsetError, match=rf"vision\.{row.name}\.weight.* cannot be tuned"):
        StagedClassifier(classifier)
    name = "vision_model.embeddings.class_embedding"
    classifier.tuned[:] = [TunedParameter(name, "bias", nn.Parameter(torch.zeros(1)))]
    with pytest.raises(SubsetError, match=rf"{name}.* does not belong to a site"):
        StagedClassifier(classifier)
