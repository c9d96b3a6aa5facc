"""OpenCLIP checkpoints, held against the code of ``open_clip`` itself."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from openclips import MODEL, make_open_clip, write_open_clip
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from study.errors import BackboneError
from study.method.backbone import load_backbone
from study.method.checkpoint import read_architecture
from study.method.framing import Framing
from study.method.model import FewShotClassifier
from study.method.openclip import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, clip_values, to_open_clip
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import make_optimizer, training_step

PROMPTS = ["a photo of a cat.", "A photo of a  dog", "café au lait & bird"]
KINDS: dict[str, dict[str, Any]] = {
    "gelu": {},
    "quick gelu": {"quick_gelu": True},
    "custom text": {"custom_text": True},
    "another epsilon": {"vision_cfg": {**MODEL["vision_cfg"], "norm_kwargs": {"eps": 1e-3}}},
    "with a bias of the logits": {"custom_text": True, "init_logit_bias": -10.0},
}


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_features_are_those_of_open_clips_own_code(
    tmp_path: Path, pixels: torch.Tensor, changes: dict[str, Any]
) -> None:
    theirs = write_open_clip(tmp_path, changes)
    backbone = load_backbone(tmp_path)
    tokens = open_clip.SimpleTokenizer()(PROMPTS)
    own = backbone.tokenize(PROMPTS)
    for mine, other in zip(own, tokens, strict=True):
        end = int(other.argmax())
        assert torch.equal(mine[: end + 1], other[: end + 1])
    classifier = FewShotClassifier(backbone, parse("clipfit"))
    staged = StagedClassifier(classifier)
    with torch.no_grad():
        text = theirs.encode_text(tokens, normalize=True)
        image = theirs.encode_image(pixels, normalize=True)
        for got, expected in (
            (classifier.encode_text(own), text),
            (staged.encode_text(staged.begin_prompts(own)), text),
            (classifier.encode_image(pixels), image),
            (staged.encode_image(staged.begin_images(pixels)), image),
        ):
            assert (got - expected).abs().max() < 1e-5
        expected = theirs.logit_scale.exp() * image @ text.T
        assert torch.allclose(classifier.logits(image, text), expected, atol=1e-5)


def test_every_site_has_the_gradient_of_open_clips_own_model(
    tmp_path: Path, pixels: torch.Tensor
) -> None:
    theirs = write_open_clip(tmp_path, {})
    backbone = load_backbone(tmp_path)
    classifier, ids = FewShotClassifier(backbone, parse("bitfit + ln")), backbone.tokenize(PROMPTS)
    classifier.logits(classifier.encode_image(pixels), classifier.encode_text(ids))[
        :, 1
    ].sum().backward()
    tokens = open_clip.SimpleTokenizer()(PROMPTS)
    text, image = theirs.encode_text(tokens, normalize=True), theirs.encode_image(pixels, True)
    (theirs.logit_scale.exp() * image @ text.T)[:, 1].sum().backward()
    names = {
        "attn.in_proj_bias": (
            "self_attn.q_proj.bias",
            "self_attn.k_proj.bias",
            "self_attn.v_proj.bias",
        ),
        "attn.out_proj.bias": ("self_attn.out_proj.bias",),
        "mlp.c_fc.bias": ("mlp.fc1.bias",),
        "mlp.c_proj.bias": ("mlp.fc2.bias",),
        **{
            f"{a}.{t}": (f"{b}.{t}",)
            for a, b in (("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"))
            for t in ("weight", "bias")
        },
    }
    expected = {}
    for name, parameter in theirs.named_parameters():
        tower = "vision_model" if name.startswith("visual.") else "text_model"
        _, in_blocks, place = name.partition(".resblocks.")
        layer, _, own = place.partition(".")
        if in_blocks and own in names:
            parts = parameter.grad.chunk(len(names[own]))
            for part, value in zip(names[own], parts, strict=True):
                expected[f"{tower}.encoder.layers.{layer}.{part}"] = value
    for around, module in (
        ("visual.ln_pre", "vision_model.pre_layrnorm"),
        ("visual.ln_post", "vision_model.post_layernorm"),
        ("ln_final", "text_model.final_layer_norm"),
    ):
        for tensor in ("weight", "bias"):
            expected[f"{module}.{tensor}"] = theirs.get_parameter(f"{around}.{tensor}").grad
    for one in classifier.tuned:
        assert torch.allclose(one.parameter.grad, expected[one.name], atol=1e-5), one.name


def test_a_step_of_clipfit_is_that_of_open_clips_own_model(
    tmp_path: Path, pixels: torch.Tensor
) -> None:
    """The same loss by their code, the same SGD, and the same tensors afterwards."""
    theirs = write_open_clip(tmp_path, {"quick_gelu": True})
    backbone = load_backbone(tmp_path)
    classifier, ids = FewShotClassifier(backbone, parse("clipfit")), backbone.tokenize(PROMPTS)
    staged, labels = StagedClassifier(classifier), torch.tensor([0, 1, 2, 0])
    zero_shot = classifier.encode_text(ids).detach()
    optimizer = make_optimizer(classifier.tuned, {"bias": 0.05, "ln": 0.02})

    tokens = open_clip.SimpleTokenizer()(PROMPTS)
    tuned = {
        name: p
        for name, p in theirs.named_parameters()
        if (name.startswith("visual.") and ".ln_" in name)
        or (name.startswith("transformer.") and name.endswith("mlp.c_proj.bias"))
    }
    groups = [
        {"params": [p for n, p in tuned.items() if n.startswith("transformer.")], "lr": 0.05},
        {"params": [p for n, p in tuned.items() if n.startswith("visual.")], "lr": 0.02},
    ]
    reference = torch.optim.SGD(groups, momentum=0.9, weight_decay=5e-4)
    for _ in range(3):
        losses = training_step(
            staged, optimizer, staged.begin_images(pixels), labels, staged.begin_prompts(ids),
            zero_shot, 8.0,
        )  # fmt: skip
        text, image = theirs.encode_text(tokens, True), theirs.encode_image(pixels, True)
        loss = F.cross_entropy(theirs.logit_scale.exp() * image @ text.T, labels)
        loss = loss + 8.0 * (1 - F.cosine_similarity(text, zero_shot, dim=-1).mean())
        assert torch.allclose(losses.loss, loss, atol=1e-5)
        reference.zero_grad()
        loss.backward()
        reference.step()
    assert len(tuned) == len(classifier.tuned)
    with torch.no_grad():
        image, text = theirs.encode_image(pixels, True), theirs.encode_text(tokens, True)
        assert torch.allclose(classifier.encode_image(pixels), image, atol=1e-5)
        assert torch.allclose(classifier.encode_text(ids), text, atol=1e-5)


@pytest.mark.parametrize("name", ["gelu", "quick gelu", "another epsilon"])
def test_a_model_goes_back_as_it_came(tmp_path: Path, name: str) -> None:
    theirs = write_open_clip(tmp_path, KINDS[name])
    values, tensors = to_open_clip(load_backbone(tmp_path).clip)
    assert clip_values("x", {"model_cfg": values}) == clip_values(
        "x", {"model_cfg": {**MODEL, **KINDS[name]}}
    )
    expected = theirs.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[key], expected[key]) for key in expected)
    make_open_clip(values).load_state_dict(tensors)


def test_the_architecture_is_read_without_the_weights(tmp_path: Path) -> None:
    write_open_clip(tmp_path, {})
    architecture = read_architecture(tmp_path)
    numbers = load_backbone(tmp_path).clip.named_parameters()
    assert architecture.count_all() == sum(p.numel() for n, p in numbers if n != "logit_scale")
    assert (architecture.depths.text, architecture.depths.vision) == (2, 3)
    assert (architecture.image_size, architecture.dim, architecture.family) == (32, 24, "clip")


@pytest.mark.parametrize(
    ("prepared", "framing"),
    [
        ({}, Framing()),
        ({"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}, Framing()),
        ({"resize_mode": "squash", "interpolation": "bilinear"}, Framing(True, "bilinear")),
    ],
)
def test_images_are_prepared_as_the_checkpoint_says(
    tmp_path: Path, prepared: dict[str, Any], framing: Framing
) -> None:
    write_open_clip(tmp_path, {}, prepared)
    backbone = load_backbone(tmp_path)
    assert backbone.framing == read_architecture(tmp_path).framing == framing
    assert backbone.image_mean == tuple(prepared.get("mean", open_clip.OPENAI_DATASET_MEAN))
    assert backbone.image_std == tuple(prepared.get("std", open_clip.OPENAI_DATASET_STD))


def part(name: str, **values: Any) -> dict[str, Any]:
    return {name: {**MODEL[name], **values}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    (part("vision_cfg", timm_model_name="vit_x"), r"vision_cfg\.timm_model_name = 'vit_x'"),
    (part("vision_cfg", layers=[3, 4, 6, 3]), "describes no CLIP"),
    (part("vision_cfg", pool_type="avg"), r"vision_cfg\.pool_type = 'avg'; allowed is 'tok'"),
    (part("vision_cfg", ls_init_value=0.1), r"vision_cfg\.ls_init_value = 0\.1"),
    (part("vision_cfg", no_ln_pre=True), r"vision_cfg\.no_ln_pre = True"),
    (part("vision_cfg", attentional_pool=True), "attentional_pool"),
    (part("vision_cfg", image_size=[32, 64]), "not square"),
    (part("vision_cfg", norm_kwargs={"bias": False}), "norm_kwargs has bias; allowed is eps"),
    (part("text_cfg", hf_model_name="xlm-roberta-base"), r"text_cfg\.hf_model_name = 'xlm-rob"),
    (part("text_cfg", no_causal_mask=True), r"text_cfg\.no_causal_mask = True"),
    (part("text_cfg", pool_type="last"), r"text_cfg\.pool_type = 'last'; allowed is 'argmax'"),
    (part("text_cfg", tokenizer_kwargs={"clean": "canonicalize"}), "tokenizer_kwargs"),
    ({"multimodal_cfg": {"layers": 2}}, "multimodal_cfg"),
    ({"nonscalar_logit_scale": True}, "nonscalar_logit_scale"),
    ({"something_new": 3}, "something_new = 3; allowed is a model without it"),
]


@pytest.mark.parametrize(("changes", "told"), REFUSED, ids=[told[:30] for _, told in REFUSED])
def test_another_network_is_refused_by_the_name_of_what_is_different(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    (tmp_path / OPEN_CLIP_CONFIG).write_text(json.dumps({"model_cfg": {**MODEL, **changes}}))
    save_file({"x": torch.ones(1)}, tmp_path / OPEN_CLIP_WEIGHTS)
    with pytest.raises(BackboneError, match=told):
        read_architecture(tmp_path)


def rename(folder: Path) -> None:
    tensors = load_file(folder / OPEN_CLIP_WEIGHTS)
    tensors["visual.transformer.resblocks.0.ls_1.gamma"] = torch.ones(32)
    save_file(tensors, folder / OPEN_CLIP_WEIGHTS)


def drop(folder: Path) -> None:
    tensors = load_file(folder / OPEN_CLIP_WEIGHTS)
    del tensors["visual.ln_post.bias"]
    save_file(tensors, folder / OPEN_CLIP_WEIGHTS)


def cut(folder: Path) -> None:
    (folder / OPEN_CLIP_WEIGHTS).write_bytes((folder / OPEN_CLIP_WEIGHTS).read_bytes()[:-5])


def grow(folder: Path) -> None:
    tensors = load_file(folder / OPEN_CLIP_WEIGHTS)
    tensors["text_projection"] = torch.ones(32, 25)
    save_file(tensors, folder / OPEN_CLIP_WEIGHTS)


def double(folder: Path) -> None:
    (folder / OPEN_CLIP_WEIGHTS).rename(folder / "a.safetensors")
    save_file({"x": torch.ones(1)}, folder / "b.safetensors")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (rename, r"1 tensors that a CLIP does not have, first .*ls_1\.gamma"),
        (drop, r"lacks 1 tensors of a CLIPModel, first vision_model\.post_layernorm\.bias"),
        (cut, "cannot be read .* written whole"),
        (grow, r"1 tensors of another shape .*text_projection\.weight: \(25, 32\)"),
        (double, "has 2 files of weights"),
    ],
)
def test_weights_that_do_not_belong_to_it_are_refused(
    tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    write_open_clip(tmp_path, {})
    damage(tmp_path)
    with pytest.raises(BackboneError, match=f"(?s){told}"):
        load_backbone(tmp_path)


def test_without_open_clip_the_tokenizer_of_the_folder_is_read_or_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_open_clip(tmp_path, {})
    own = load_backbone(tmp_path)
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(BackboneError, match=r"pip install 'clipfit-study\[openclip\]'"):
        load_backbone(tmp_path)
    own.tokenizer.save_pretrained(tmp_path)
    again = load_backbone(tmp_path)
    write_open_clip(tmp_path / "named", part("text_cfg", hf_tokenizer_name="someone/words"))
    with pytest.raises(BackboneError, match="those of 'someone/words', which its configuration"):
        load_backbone(tmp_path / "named")
    assert torch.equal(again.tokenize(PROMPTS), own.tokenize(PROMPTS))
