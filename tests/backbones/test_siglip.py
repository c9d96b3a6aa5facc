"""SigLIP: its own sites, texts without a causal mask, and the pool, held against transformers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import AutoModel, AutoProcessor, AutoTokenizer, SiglipModel

from study.backbones.architecture import Depths
from study.backbones.backbone import Backbone
from study.backbones.description import read_architecture
from study.backbones.framing import Framing
from study.backbones.load_backbone import load_backbone
from study.errors import BackboneError, DataError, SubsetError
from study.method.delta import DeltaInfo, save_delta
from study.method.full_tuning import FullClassifier
from study.method.lora import LoraClassifier
from study.method.model import FewShotClassifier, model_depths
from study.method.parameters import count_numbers, find_leaf, parameter_name
from study.method.peers import PEERS
from study.method.staged import StagedClassifier
from study.method.subsets import list_sites, parse
from study.serving.exports.model_folder import save_merged
from study.serving.tuned_backbone import load_tuned_backbone
from tests.not_none import not_none
from tests.siglips import (
    LENGTH,
    VOCABULARY,
    make_gemma,
    make_sentencepiece,
    make_siglip,
    make_tokenizer,
    save_siglip,
)

PROMPTS = ["a photo of a cat", "a photo of a red dog", "bird"]
DEPTHS = Depths(2, 3, "siglip")
EVERY = "bitfit + ln"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_siglip(tmp_path / "siglip")


@pytest.fixture
def backbone(checkpoint: Path) -> Backbone:
    return load_backbone(checkpoint)


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("padding", ["left", "right"])
def test_features_are_those_of_transformers_own_code(
    tmp_path: Path, pixels: torch.Tensor, padding: str
) -> None:
    folder = save_siglip(tmp_path / padding, padding=padding)
    theirs, tokenizer = (
        SiglipModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    ids = tokenizer(PROMPTS, padding="max_length", max_length=LENGTH, return_tensors="pt")
    backbone = load_backbone(folder)
    own = backbone.tokenize(PROMPTS)
    assert torch.equal(own, ids["input_ids"])
    assert (own[:, 0] == 0).any() == (padding == "left")
    classifier = FewShotClassifier(backbone, parse("clipfit"))
    with torch.no_grad():
        expected = theirs(input_ids=own, pixel_values=pixels)
        text, image = classifier.encode_text(own), classifier.encode_image(pixels)
        logits = classifier.logits(image, text)
        # The bias of the logits is one number for all classes.
        logits += theirs.logit_bias
    assert (text - expected.text_embeds).abs().max() < 1e-5
    assert (image - expected.image_embeds).abs().max() < 1e-5
    assert torch.allclose(logits, expected.logits_per_image, atol=1e-5)


@pytest.mark.parametrize("subset", [EVERY, "clipfit", "vision.pool.bias", "text.ln1[1]", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_staged_pass_has_every_gradient_of_the_plain_one(
    backbone: Backbone, pixels: torch.Tensor, subset: str, dtype: torch.dtype
) -> None:
    backbone.clip.to(dtype)
    classifier, ids = FewShotClassifier(backbone, parse(subset)), backbone.tokenize(PROMPTS)
    staged, pixels = StagedClassifier(classifier), pixels.to(dtype)
    begun, images = staged.begin_prompts(ids), staged.begin_images(pixels)
    bound = 1e-5 if dtype == torch.float32 else 1e-10
    found = []
    for text, image in (
        (classifier.encode_text(ids), classifier.encode_image(pixels)),
        (staged.encode_text(begun), staged.encode_image(images)),
    ):
        logits = classifier.logits(image, text)
        for one in classifier.tuned:
            one.parameter.grad = None
        if classifier.tuned:
            (logits * torch.arange(logits.numel()).view_as(logits).sin()).sum().backward()
        found.append((text, image, *(one.parameter.grad for one in classifier.tuned)))
    for plain, other in zip(*found, strict=True):
        assert (plain - other).abs().max() <= bound * plain.abs().max().clamp(min=1)
    assert all(not_none(one.parameter.grad).abs().max() > 0 for one in classifier.tuned)


def test_every_site_has_the_gradient_of_transformers_own_model(
    checkpoint: Path, backbone: Backbone, pixels: torch.Tensor
) -> None:
    """Parting the pool's biases changes no gradient, and the key's is zero."""
    theirs = SiglipModel.from_pretrained(checkpoint).eval()
    ids = backbone.tokenize(PROMPTS)
    classifier = FewShotClassifier(backbone, parse(EVERY))
    text, image = classifier.encode_text(ids), classifier.encode_image(pixels)
    classifier.logits(image, text)[:, 1].sum().backward()
    theirs(input_ids=ids, pixel_values=pixels).logits_per_image[:, 1].sum().backward()
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    name = "vision_model.head.attention.in_proj_bias"
    query, key, value = expected.pop(name).chunk(3)
    assert key.abs().max() < 1e-5 < query.abs().max()
    parts = f"{name.replace('in_proj_bias', 'parametrizations.in_proj_bias')}.original"
    expected |= {f"{parts}0": query, f"{parts}2": value}
    for one in classifier.tuned:
        assert torch.allclose(not_none(one.parameter.grad), expected[one.name], atol=1e-5), one.name
    assert len(classifier.tuned) == len(parse(EVERY).resolve(DEPTHS))


def test_its_sites_are_its_own() -> None:
    assert list_sites("vision", "siglip")[5:10] == (
        "pool.q.bias", "pool.v.bias", "pool.out.bias", "pool.fc1.bias", "pool.fc2.bias",
    )  # fmt: skip
    assert list_sites("text", "siglip")[5:] == ("proj.bias", "ln1", "ln2", "ln_final")
    assert "pool.ln" in list_sites("vision", "siglip")
    leaves = parse("vision.ln").resolve(DEPTHS)
    assert {leaf.site for leaf in leaves} == {"ln1", "ln2", "ln_post", "pool.ln"}
    for leaf in parse(EVERY).resolve(DEPTHS):
        assert find_leaf(parameter_name(leaf)) == leaf


@pytest.mark.parametrize(
    ("subset", "depths"),
    [
        ("vision.ln_pre", DEPTHS),
        ("vision.pool.q.bias", Depths(2, 3)),
        ("text.proj.bias", Depths(2, 3)),
        ("vision.pool.ln", Depths(2, 3)),
    ],
)
def test_a_site_of_the_other_family_is_refused_and_the_sites_are_named(
    subset: str, depths: Depths
) -> None:
    with pytest.raises(SubsetError, match=f"{subset} is no site of a '{depths.family}' model.*ln1"):
        parse(subset).resolve(depths)


def test_the_architecture_counts_every_number(checkpoint: Path, backbone: Backbone) -> None:
    architecture = read_architecture(checkpoint)
    numbers = [p.numel() for name, p in backbone.clip.named_parameters() if "logit" not in name]
    assert architecture.count_all() == sum(numbers)
    assert architecture.depths == model_depths(backbone.clip) == DEPTHS
    begun = StagedClassifier(FewShotClassifier(backbone, parse("vision.ln1"))).begin_images(
        torch.zeros(1, 3, 16, 16)
    )
    assert begun.shape[1:] == (architecture.vision.tokens, architecture.vision.width)
    assert (architecture.image_size, architecture.dim, backbone.dim) == (16, 32, 32)
    every = FewShotClassifier(backbone, parse(EVERY)).tuned
    assert count_numbers(architecture, parse(EVERY).resolve(DEPTHS)) == sum(
        one.parameter.numel() for one in every
    )


@pytest.mark.parametrize(("resample", "name"), [(2, "bilinear"), (3, "bicubic")])
def test_images_are_scaled_to_the_square_by_the_filter_of_the_checkpoint(
    tmp_path: Path, resample: int, name: str
) -> None:
    folder = save_siglip(tmp_path / "x", resample=resample)
    assert read_architecture(folder).framing == Framing(True, name)  # type: ignore[arg-type]
    assert load_backbone(folder).framing == Framing(True, name)  # type: ignore[arg-type]


def test_a_prompt_that_does_not_fit_is_refused_and_none_is_cut(backbone: Backbone) -> None:
    assert backbone.tokenize([" ".join(["cat"] * (LENGTH - 1))]).shape == (1, LENGTH)
    with pytest.raises(DataError, match=rf"has {LENGTH + 1} tokens.* at most {LENGTH}"):
        backbone.tokenize(["bird", " ".join(["cat"] * LENGTH)])


def test_full_fine_tuning_leaves_scale_and_bias_of_the_logits(backbone: Backbone) -> None:
    names = {one.name for one in FullClassifier(backbone).tuned}
    own = {name for name, _ in backbone.clip.named_parameters()}
    assert own - names == {"logit_scale", "logit_bias"}


@pytest.mark.parametrize("version", [1, 2])
def test_the_tokenizers_of_both_versions_are_read_and_written(
    tmp_path: Path, version: int, pixels: torch.Tensor
) -> None:
    folder = save_siglip(tmp_path / "siglip")
    make_siglip(vocabulary=64).save_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    theirs: Any = make_sentencepiece(tmp_path / "words") if version == 1 else make_gemma()
    theirs.save_pretrained(folder)
    before = read_architecture(folder).checkpoint
    backbone = load_backbone(folder)
    texts = ["A photo", "bird"]
    expected = theirs(texts, padding="max_length", max_length=LENGTH)["input_ids"]
    assert backbone.tokenize(texts).tolist() == expected
    assert backbone.tokenize(["BIRD"]).tolist() == backbone.tokenize(["bird"]).tolist()
    assert type(backbone.tokenizer).__name__ == type(theirs).__name__
    name = "spiece.model" if version == 1 else "tokenizer.json"
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert read_architecture(folder).checkpoint != before


def test_without_sentencepiece_the_extra_is_named(tmp_path: Path) -> None:
    folder = save_siglip(tmp_path / "siglip")
    (folder / "tokenizer.json").unlink()
    make_sentencepiece(tmp_path / "words").save_pretrained(folder)
    script = f"""
import importlib.util as util, sys
real = util.find_spec
util.find_spec = lambda n, *a: None if n.split(".")[0] == "sentencepiece" else real(n, *a)
from study.errors import BackboneError
from study.backbones.load_backbone import load_backbone
try:
    load_backbone({str(folder)!r})
except BackboneError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install 'clipfit-study[siglip]', which brings sentencepiece" in done.stdout


def test_lora_adapts_the_queries_and_values_of_all_blocks(
    checkpoint: Path, backbone: Backbone
) -> None:
    generator = torch.Generator().manual_seed(0)
    peer = LoraClassifier(backbone, rank=2, alpha=4.0, generator=generator)
    numbers = sum(one.parameter.numel() for one in peer.tuned)
    assert numbers == PEERS["lora"].count(read_architecture(checkpoint), {"rank": 2})
    ids = backbone.tokenize(PROMPTS)
    with torch.no_grad():
        plain = FewShotClassifier(backbone, parse("none")).encode_text(ids)
        assert torch.allclose(peer.encode_text(ids), plain, atol=1e-6), "B begins at zero"


def test_a_tuned_model_is_written_under_transformers_own_names(
    checkpoint: Path, backbone: Backbone, pixels: torch.Tensor, tmp_path: Path
) -> None:
    classifier = FewShotClassifier(backbone, parse(EVERY))
    for one in classifier.tuned:
        one.parameter.data.add_(0.1)
    tensors = {one.name: one.parameter.detach() for one in classifier.tuned}
    info = DeltaInfo(str(checkpoint), None, backbone.fingerprint, EVERY, ("cat", "dog"), ("{}",))
    save_delta(tmp_path / "delta.safetensors", tensors, info)
    save_merged(tmp_path / "merged", load_tuned_backbone(tmp_path / "delta.safetensors")[0])
    names = load_file(tmp_path / "merged" / "model.safetensors").keys()
    assert names == SiglipModel.from_pretrained(checkpoint).state_dict().keys()
    theirs = AutoModel.from_pretrained(tmp_path / "merged").eval()
    assert AutoProcessor.from_pretrained(tmp_path / "merged") is not None
    with torch.no_grad():
        found = theirs.get_image_features(pixel_values=pixels).pooler_output
        assert torch.allclose(
            F.normalize(found, dim=-1), classifier.encode_image(pixels), atol=1e-6
        )
    assert load_backbone(tmp_path / "merged").fingerprint != backbone.fingerprint


def test_an_image_encoder_without_its_pool_is_refused(checkpoint: Path) -> None:
    model = make_siglip()
    model.config.vision_config.vision_use_head = False
    model.config.save_pretrained(checkpoint)
    with pytest.raises(BackboneError, match="vision_use_head is false"):
        read_architecture(checkpoint)


def test_tokens_that_the_model_does_not_know_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "few"
    save_siglip(folder)
    make_siglip(vocabulary=4).save_pretrained(folder)
    with pytest.raises(BackboneError, match=r"gives id .* do not belong together"):
        load_backbone(folder).tokenize(PROMPTS)
    assert len(VOCABULARY) > 4
    assert make_tokenizer().pad_token == "<pad>"
