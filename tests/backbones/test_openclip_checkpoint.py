"""OpenCLIP checkpoints, held against the code of ``open_clip`` itself."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

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
from study.storage.result_folder import JsonObject
from tests.damage import change_weights, cut
from tests.openclips import MODEL, make_open_clip, write_open_clip

PROMPTS = ["a photo of a cat.", "A photo of a  dog", "café au lait & bird"]
KINDS: dict[str, JsonObject] = {
    "gelu": {},
    "quick gelu": {"quick_gelu": True},
    "custom text": {"custom_text": True, "init_logit_bias": -10.0},
    "another epsilon": {"vision_cfg": {**MODEL["vision_cfg"], "norm_kwargs": {"eps": 1e-3}}},
}


@pytest.mark.parametrize("name", KINDS)
def test_features_are_those_of_open_clips_own_code_and_a_model_goes_back_as_it_came(
    tmp_path: Path, name: str
):
    import open_clip

    theirs = write_open_clip(tmp_path, KINDS[name])
    backbone = load_backbone(tmp_path)
    architecture = read_architecture(tmp_path)
    numbers = backbone.clip.named_parameters()
    assert architecture.count_all() == sum(p.numel() for n, p in numbers if n != "logit_scale")
    assert architecture.depths == (2, 3, "clip")
    assert (architecture.image_size, architecture.dim) == (32, 24)
    tokens = open_clip.SimpleTokenizer()(PROMPTS)
    own = backbone.tokenize(PROMPTS)
    for mine, other in zip(own, tokens, strict=True):
        end = int(other.argmax()) + 1
        assert torch.equal(mine[:end], other[:end])
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    classifier = FewShotClassifier(backbone, parse("clipfit"))
    staged = StagedClassifier(classifier)
    with torch.no_grad():
        text = theirs.encode_text(tokens, normalize=True)
        image = theirs.encode_image(pixels, normalize=True)
        for found, expected in (
            (staged.encode_text(staged.begin_prompts(own)), text),
            (staged.encode_image(staged.begin_images(pixels)), image),
            (classifier.encode_text(own), text),
            (classifier.encode_image(pixels), image),
            (classifier.logits(image, text), theirs.logit_scale.exp() * image @ text.T),
        ):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    if name == "custom text":
        return  # which goes back under the usual names
    values, tensors = to_open_clip(backbone.clip)
    before = {"model_cfg": {**MODEL, **KINDS[name]}}
    assert clip_values("x", {"model_cfg": values}) == clip_values("x", before)
    state = theirs.state_dict()
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[key], state[key]) for key in state)
    make_open_clip(values).load_state_dict(tensors)


@pytest.mark.parametrize(
    "prepared, framing",
    [
        ({}, Framing()),
        ({"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}, Framing()),
        ({"resize_mode": "squash", "interpolation": "bilinear"}, Framing(True, "bilinear")),
    ],
)
def test_images_are_prepared_as_the_checkpoint_says(
    tmp_path: Path, prepared: JsonObject, framing: Framing
):
    import open_clip

    write_open_clip(tmp_path, {}, prepared)
    backbone = load_backbone(tmp_path)
    assert backbone.framing == read_architecture(tmp_path).framing == framing
    assert backbone.image_mean == prepared.get("mean", open_clip.OPENAI_DATASET_MEAN)
    assert backbone.image_std == prepared.get("std", open_clip.OPENAI_DATASET_STD)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"vision_cfg": {"timm_model_name": "vit_x"}}, r"vision_cfg\.timm_model_name = 'vit_x'"),
        ({"vision_cfg": {"layers": [3, 4, 6, 3]}}, "doesn't describe a CLIP"),
        ({"vision_cfg": {"image_size": [32, 64]}}, "not square"),
        ({"vision_cfg": {"norm_kwargs": {"bias": False}}}, "norm_kwargs has bias; expected eps"),
        ({"text_cfg": {"no_causal_mask": True}}, r"text_cfg\.no_causal_mask = True"),
        ({"text_cfg": {"pool_type": "last"}}, r"text_cfg\.pool_type = 'last'; expected 'argmax'"),
        ({"something_new": 3}, "something_new = 3; expected a model without it"),
    ],
)
def test_another_network_is_refused_by_the_name_of_what_is_different(
    tmp_path: Path, changes: JsonObject, message: str
):
    model = dict(MODEL)
    for name, value in changes.items():
        model[name] = {**MODEL[name], **value} if name in MODEL else value
    (tmp_path / OPEN_CLIP_CONFIG).write_text(json.dumps({"model_cfg": model}))
    (tmp_path / OPEN_CLIP_WEIGHTS).touch()
    with pytest.raises(BackboneError, match=message):
        read_architecture(tmp_path)


def weights(name: str, tensor: torch.Tensor | None) -> Callable[[Path], None]:
    return lambda path: change_weights(path, {name: tensor})


@pytest.mark.parametrize(
    "damage, message",
    [
        (
            weights("visual.transformer.resblocks.0.ls_1.gamma", torch.ones(32)),
            r"1 tensors do not belong to a CLIP, such as .*ls_1\.gamma",
        ),
        (Path.unlink, f"has no {OPEN_CLIP_WEIGHTS}"),
        (cut, r"cannot be read .* complete"),
    ],
)
def test_weights_that_are_not_of_the_network_or_not_whole_are_refused(
    tmp_path: Path, damage: Callable[[Path], object], message: str
):
    write_open_clip(tmp_path, {})
    (tmp_path / "other.safetensors").touch()
    damage(tmp_path / OPEN_CLIP_WEIGHTS)
    with pytest.raises(BackboneError, match=f"(?s){message}"):
        load_backbone(tmp_path)


def test_without_open_clip_the_folders_tokenizer_is_read_or_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_open_clip(tmp_path, {})
    own = load_backbone(tmp_path)
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(BackboneError, match=r"pip install 'clipfit-study\[openclip\]'"):
        load_backbone(tmp_path)
    own.tokenizer.save_pretrained(tmp_path)
    assert torch.equal(load_backbone(tmp_path).tokenize(PROMPTS), own.tokenize(PROMPTS))
    named = {**MODEL["text_cfg"], "hf_tokenizer_name": "someone/words"}
    write_open_clip(tmp_path / "named", {"text_cfg": named})
    with pytest.raises(BackboneError, match="files of its tokenizer, someone/words; add them"):
        load_backbone(tmp_path / "named")
