"""Small random CLIPs with encoders of different depth, so that mixing them up shows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

from study.backbones.backbone import Backbone, fingerprint

MakeBackbone = Callable[..., Backbone]

WORDS = ("a", "photo", "of", "cat", "dog", "bird", "red")
START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = {
    word: index for index, word in enumerate(("[UNK]", "[PAD]", "[OLD]", *WORDS, START, END))
}
TEXT_LAYERS, VISION_LAYERS = 2, 3


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(token, VOCABULARY[token]) for token in (START, END)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=START,
        eos_token=END,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_max_length=77,
    )


def make_clip(seed: int, *, eos_token_id: int) -> CLIPModel:
    encoder = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **encoder,
            "num_hidden_layers": TEXT_LAYERS,
            "vocab_size": len(VOCABULARY),
            "bos_token_id": VOCABULARY[START],
            "eos_token_id": eos_token_id,
            "pad_token_id": VOCABULARY["[PAD]"],
        },
        vision_config={
            **encoder,
            "num_hidden_layers": VISION_LAYERS,
            "image_size": 16,
            "patch_size": 8,
        },
        projection_dim=24,
    )
    clip = CLIPModel(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in clip.named_parameters():
        if name == "logit_scale":
            continue
        # Fresh biases are 0 and fresh LayerNorm weights 1, which hides a mix-up of two of them.
        norm_weight = "norm" in name and name.endswith("weight")
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(norm_weight + 0.1 * noise)
    return clip


@pytest.fixture(scope="session")
def make_backbone() -> MakeBackbone:
    """Make a small random backbone, each time anew."""

    def make(seed: int = 0, *, eos_token_id: int = VOCABULARY[END]) -> Backbone:
        clip = make_clip(seed, eos_token_id=eos_token_id)
        return Backbone(
            name="tiny",
            clip=clip,
            tokenizer=make_tokenizer(),
            image_size=16,
            image_mean=(0.5, 0.5, 0.5),
            image_std=(0.25, 0.25, 0.25),
            fingerprint=fingerprint(clip),
        )

    return make


@pytest.fixture
def backbone(make_backbone: MakeBackbone) -> Backbone:
    return make_backbone()


@pytest.fixture
def checkpoint(backbone: Backbone, tmp_path: Path) -> Path:
    """The backbone as a Hugging Face folder."""
    folder = tmp_path / "checkpoint"
    backbone.clip.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": 16},
        crop_size={"height": 16, "width": 16},
        image_mean=list(backbone.image_mean),
        image_std=list(backbone.image_std),
    ).save_pretrained(folder)
    return folder


def set_value(folder: Path, encoder: str | None, key: str, value: object):
    """Change a value in the configuration of a checkpoint."""
    config = json.loads((folder / "config.json").read_text())
    part = config[encoder] if encoder else config
    part[key] = value
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def pixel_values() -> torch.Tensor:
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.fixture
def input_ids(backbone: Backbone) -> torch.Tensor:
    return backbone.tokenize(["a photo of a cat", "a red dog", "bird"])
