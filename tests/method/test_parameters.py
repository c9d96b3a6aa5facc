"""The table of sites, and the names that transformers gives to its tensors."""

import subprocess
import sys

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from study.backbones.architecture import Architecture, Depths, EncoderShape
from study.backbones.backbone import Backbone
from study.errors import SubsetError
from study.method import parameters
from study.method.model import FewShotClassifier
from study.method.parameters import (
    Kind,
    Leaf,
    Site,
    count_numbers,
    find_leaf,
    list_kinds,
    parameter_name,
)
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import Objective, make_optimizer, training_step


def test_layer_1_is_not_layer_10() -> None:
    (leaf,) = parse("text.mlp.fc2.bias[1]").resolve(Depths(text=12, vision=12))
    assert parameter_name(leaf) == "text_model.encoder.layers.1.mlp.fc2.bias"


def test_the_leaf_of_a_name_is_the_one_that_is_named_so() -> None:
    for leaf in parse("bitfit + ln").resolve(Depths(text=2, vision=11)):
        assert find_leaf(parameter_name(leaf)) == leaf


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
        find_leaf(name)


def test_a_leaf_of_no_site_has_no_kind() -> None:
    with pytest.raises(SubsetError, match=r"no text\.ln_pre\.bias"):
        _ = Leaf("text", None, "ln_pre", "bias").kind


def test_biases_come_before_layer_norms() -> None:
    assert [(kind.name, kind.short, kind.plural) for kind in list_kinds()] == [
        ("bias", "bias", "biases"),
        ("ln", "LN", "LayerNorms"),
    ]


def test_the_table_and_the_language_do_not_import_torch() -> None:
    code = "import sys, study.method.subsets; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


MATRIX = Site(
    *("mlp.fc2", "mlp.fc2", ("weight",), Kind("weight", "weight", "weights"), "mlp"),
    shape=("width", "mlp_width"),
)
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
TEXT = {**SIZES, "num_attention_heads": 2, "vocab_size": 9, "eos_token_id": 8}
VISION = {**SIZES, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}
SHAPE = EncoderShape(depth=3, width=32, mlp_width=64)
ARCHITECTURE = Architecture(SHAPE, SHAPE, image_size=16, dim=8)


def test_one_row_adds_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "SITES", (*parameters.SITES, MATRIX))
    torch.manual_seed(0)
    clip = CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION)).requires_grad_(False)
    backbone = Backbone("tiny", clip, None, 16, (0.0,) * 3, (1.0,) * 3, fingerprint="0")
    subset = parse("vision.mlp.fc2.weight[-1] + clipfit + text.weight[0]")  # the kind is a group
    assert parse(str(subset)) == subset
    model = FewShotClassifier(backbone, subset)
    counted = count_numbers(ARCHITECTURE, subset.resolve(ARCHITECTURE.depths))
    assert counted == sum(p.numel() for p in model.clip.parameters() if p.requires_grad)

    staged, ids = StagedClassifier(model), torch.tensor([[7, 1, 8], [7, 2, 8]])
    images, labels = staged.begin_images(torch.randn(4, 3, 16, 16)), torch.arange(4) % 2
    prompts, untouched = staged.begin_prompts(ids), model.encode_text(ids).detach()
    torch.testing.assert_close(staged.encode_text(prompts), untouched)
    optimizer = make_optimizer(model.tuned, {"bias": 0.01, "ln": 0.01, "weight": 0.01})
    assert [group["kind"] for group in optimizer.param_groups] == ["bias", "ln", "weight"]
    step = (staged, optimizer, images, labels, Objective(prompts, untouched, 1.0))
    losses = [training_step(*step).loss.item() for _ in range(5)]
    assert losses[-1] < losses[0]
