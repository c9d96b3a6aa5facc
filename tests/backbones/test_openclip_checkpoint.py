"""OpenCLIP checkpoints, held against the code of ``open_clip`` itself."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from study.backbones.description import read_architecture
from study.backbones.framing import Framing
from study.backbones.load_backbone import load_backbone
from study.backbones.openclip_checkpoint import (
    OPEN_CLIP_CONFIG,
    OPEN_CLIP_WEIGHTS,
    clip_values,
    to_open_clip,
)
from study.errors import BackboneError
from study.method.model import FewShotClassifier
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from tests.openclips import MODEL, make_open_clip, write_open_clip

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


REFUSED = yaml.safe_load(Path(__file__).with_name("openclip_refused.yaml").read_text())


@pytest.mark.parametrize(("changes", "told"), REFUSED)
def test_another_network_is_refused_by_the_name_of_what_is_different(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    model: dict[str, Any] = dict(MODEL)
    for name, value in changes.items():
        model[name] = {**MODEL[name], **value} if name in MODEL else value
    (tmp_path / OPEN_CLIP_CONFIG).write_text(json.dumps({"model_cfg": model}))
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
