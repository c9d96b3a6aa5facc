"""Small random SigLIPs with encoders of different depth, and a tokenizer that pads on a side."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    PreTrainedTokenizerFast,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipTokenizer,
)

from tests.small_clips import randomize

WORDS = ("a", "photo", "of", "cat", "dog", "bird", "red", "digit", *"0123456789", ".")
VOCABULARY = {word: at for at, word in enumerate(("<pad>", "<eos>", "<unk>", *WORDS))}
LENGTH = 16
"""The number of tokens that texts are padded to."""


def make_siglip(side: int, *, vocabulary: int, length: int) -> SiglipModel:
    """Return a small SigLIP, each of whose tensors is random."""
    encoder = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config={
            **encoder,
            "num_hidden_layers": 2,
            "vocab_size": vocabulary,
            "max_position_embeddings": length,
            "projection_size": 32,
        },
        vision_config={**encoder, "num_hidden_layers": 3, "image_size": side, "patch_size": 8},
    )
    model = SiglipModel(config).eval().requires_grad_(False)
    randomize(model, 0.1)
    model.logit_scale.fill_(2.0)
    model.logit_bias.fill_(-1.0)
    return model


def make_tokenizer(side: str = "right") -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words that ends texts, and pads them on a side."""
    words = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", VOCABULARY["<eos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side=side,
        model_max_length=LENGTH,
    )


def make_sentencepiece(folder: Path) -> SiglipTokenizer:
    """Return a tokenizer of SigLIP 1, whose vocabulary is a sentencepiece model."""
    import sentencepiece

    folder.mkdir()
    texts = folder / "texts.txt"
    texts.write_text("a photo of a cat\na photo of a red dog\nbird\ndigit 0123456789\n" * 5)
    sentencepiece.SentencePieceTrainer.train(
        input=str(texts), model_prefix=str(folder / "spiece"), vocab_size=60,
        pad_id=-1, bos_id=-1, eos_id=1, unk_id=0, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return SiglipTokenizer(str(folder / "spiece.model"), model_max_length=LENGTH)


def make_gemma(length: int = LENGTH) -> Siglip2Tokenizer:
    """Return a tokenizer of SigLIP 2, here of letters, which reads capitals as small letters."""
    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    letters = ("▁", *"abcdefghijklmnopqrstuvwxyz0123456789.")
    vocabulary = {piece: at for at, piece in enumerate((*special, *letters))}
    return Siglip2Tokenizer(vocab=vocabulary, merges=[], model_max_length=length)


def save_siglip(folder: Path, *, side: int = 16, tokenizer: Any = None) -> Path:
    """Write a checkpoint of a small SigLIP, as transformers writes it."""
    tokenizer = tokenizer or make_tokenizer()
    model = make_siglip(side, vocabulary=len(tokenizer), length=tokenizer.model_max_length)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessor(size={"height": side, "width": side}, resample=2).save_pretrained(folder)
    return folder
