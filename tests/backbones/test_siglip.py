"""SigLIP: its own sites, texts without a causal mask, and the pool, held against transformers."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from transformers import AutoTokenizer, SiglipModel

from study.backbones.architecture import Depths
from study.backbones.backbone import Backbone
from study.backbones.description import read_architecture
from study.backbones.framing import Framing
from study.backbones.load_backbone import load_backbone
from study.errors import BackboneError, SubsetError
from study.method.model import FewShotClassifier
from study.method.parameters import count_parameters, find_tensor, parameter_name
from study.method.subsets import parse
from study.serving.exports.hf import save_merged
from tests.not_none import not_none
from tests.siglips import LENGTH, make_gemma, make_sentencepiece, make_tokenizer, save_siglip
from tests.small_clips import set_value
from tests.staged_case import Case, assert_close_gradients

PROMPTS = ["a photo of a cat", "a photo of a red dog", "bird"]
DEPTHS = Depths(2, 3, "siglip")
EVERY = "bitfit + ln"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_siglip(tmp_path / "siglip")


@pytest.fixture
def backbone(checkpoint: Path) -> Backbone:
    return load_backbone(checkpoint)


@pytest.mark.parametrize("padding", ["left", "right"])
def test_logits_and_gradients_are_those_of_transformers_own_code(tmp_path: Path, padding: str):
    """Parting the pool's biases changes no gradient, and the key's is zero."""
    folder = save_siglip(tmp_path / padding, tokenizer=make_tokenizer(padding))
    backbone = load_backbone(folder)
    ids = backbone.tokenize(PROMPTS)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert ids.tolist() == tokenizer(PROMPTS, padding="max_length", max_length=LENGTH)["input_ids"]
    assert (ids[:, 0] == 0).any() == (padding == "left")
    pixels = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    theirs = SiglipModel.from_pretrained(folder).eval()
    classifier = FewShotClassifier(backbone, parse(EVERY))
    logits = classifier.logits(classifier.encode_image(pixels), classifier.encode_text(ids))
    expected = theirs(input_ids=ids, pixel_values=pixels).logits_per_image
    # The bias of the logits is one number for all classes.
    torch.testing.assert_close(logits + theirs.logit_bias, expected, atol=1e-5, rtol=1e-5)
    logits[:, 1].sum().backward()
    expected[:, 1].sum().backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    query, key, value = gradients["vision_model.head.attention.in_proj_bias"].chunk(3)
    assert key.abs().max() < 1e-5 < query.abs().max()
    parts = "vision_model.head.attention.parametrizations.in_proj_bias.original"
    gradients |= {f"{parts}0": query, f"{parts}2": value}
    for one in classifier.tuned:
        own = not_none(one.parameter.grad)
        assert torch.allclose(own, gradients[one.name], atol=1e-5), one.name
    assert len(classifier.tuned) == len(parse(EVERY).resolve(DEPTHS))


@pytest.mark.parametrize("subset", [EVERY, "vision.pool.bias", "text.ln1[1]"])
def test_the_staged_pass_has_every_gradient_of_the_plain_one(backbone: Backbone, subset: str):
    assert_close_gradients(Case(backbone, subset, 0, torch.float64), 1e-10)


def test_its_sites_are_its_own_and_those_of_the_other_family_are_refused():
    tensors = parse("vision.ln").resolve(DEPTHS)
    assert {tensor.site for tensor in tensors} == {"ln1", "ln2", "ln_post", "pool.ln"}
    tensors = parse(EVERY).resolve(DEPTHS)
    assert [find_tensor(parameter_name(tensor)) for tensor in tensors] == [*tensors]
    for subset, depths in (("vision.ln_pre", DEPTHS), ("vision.pool.q.bias", Depths(2, 3))):
        with pytest.raises(
            SubsetError, match=f"{subset} is not a site of a '{depths.family}' model"
        ):
            parse(subset).resolve(depths)


def test_its_architecture_is_read_and_every_number_counted(checkpoint: Path, backbone: Backbone):
    architecture = read_architecture(checkpoint)
    numbers = [p.numel() for name, p in backbone.clip.named_parameters() if "logit" not in name]
    assert architecture.count_all() == sum(numbers)
    assert architecture.depths == DEPTHS
    assert (architecture.image_size, architecture.dim, backbone.dim) == (16, 32, 32)
    assert architecture.framing == backbone.framing == Framing(True, "bilinear")
    every = FewShotClassifier(backbone, parse(EVERY)).tuned
    tuned = sum(one.parameter.numel() for one in every)
    assert count_parameters(architecture, parse(EVERY).resolve(DEPTHS)) == tuned
    (checkpoint / "preprocessor_config.json").unlink()
    assert read_architecture(checkpoint).framing == Framing(squash=True)
    set_value(checkpoint, "vision_config", "vision_use_head", False)
    with pytest.raises(BackboneError, match="vision_use_head is false"):
        read_architecture(checkpoint)


@pytest.mark.parametrize("file", ["spiece.model", "tokenizer.json"], ids=["1", "2"])
def test_the_tokenizers_of_both_versions_are_read(tmp_path: Path, file: str):
    is_first = file == "spiece.model"
    theirs: Any = make_sentencepiece(tmp_path / "words") if is_first else make_gemma()
    folder = save_siglip(tmp_path / "siglip", tokenizer=theirs)
    before = read_architecture(folder).checkpoint
    backbone = load_backbone(folder)
    texts = ["A photo", "bird", "BIRD"]
    expected = theirs(texts, padding="max_length", max_length=LENGTH)["input_ids"]
    assert backbone.tokenize(texts).tolist() == expected
    assert expected[1] == expected[2]
    assert type(backbone.tokenizer) is type(theirs)
    with (folder / file).open("ab") as opened:
        opened.write(b" ")
    assert read_architecture(folder).checkpoint != before


def test_a_tokenizer_of_gemma_reads_small_letters_as_siglip_2_was_trained(tmp_path: Path):
    folder = save_siglip(tmp_path / "siglip", tokenizer=make_gemma())
    settings = folder / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace("Siglip2Tokenizer", "GemmaTokenizer"))
    backbone = load_backbone(folder)
    capitals, small = backbone.tokenize(["A photo of a CAT", "a photo of a cat"])
    assert torch.equal(capitals, small)
    save_merged(tmp_path / "merged", backbone)
    exported = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert exported("CAT")["input_ids"] == exported("cat")["input_ids"]


def test_without_sentencepiece_the_extra_is_named(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("transformers.utils.is_sentencepiece_available", lambda: False)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", Mock(side_effect=ImportError))
    message = r"pip install 'clipfit-study\[siglip\]'"
    with pytest.raises(BackboneError, match=message):
        load_backbone(checkpoint)
