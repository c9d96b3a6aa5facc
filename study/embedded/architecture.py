"""The tiny CLIP: tokenizer, image processor, model, and the scale of its text tower."""

import json
import math
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from study.embedded.drawings import IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 77  # tokens, as in CLIP
WORD_END = "</w>"


def build_tokenizer(texts: Iterable[str], *, merges: int = 160) -> CLIPTokenizer:
    """Learn a byte-pair vocabulary that keeps frequent words whole and can spell any other.

    Args:
        texts: the sentences to learn from.
        merges: the most pairs to join.
    """
    # An empty tokenizer has CLIP's own normalizer and word splitting.
    rules = CLIPTokenizer(vocab={BOS: 0, EOS: 1}, merges=[]).backend_tokenizer
    alphabet = sorted(ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    learner.normalizer, learner.pre_tokenizer = rules.normalizer, rules.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + merges,
        initial_alphabet=alphabet,
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    pairs = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]][:merges]
    # The trainer lists only the word ends in its texts; spelling any word needs all 256.
    ends = [letter + WORD_END for letter in alphabet]
    # BOS and EOS come last, as in CLIP, so that pooling at the largest id works, too.
    tokens = [*alphabet, *ends, *map("".join, pairs), BOS, EOS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=CONTEXT)


def build_image_processor() -> CLIPImageProcessor:
    """Return the preprocessing that pre-training, trials and exported models share."""
    return CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
    )


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Return the untrained model; its weights come from torch's global generator."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "quick_gelu",
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "image_size": IMAGE_SIZE,
        "patch_size": 8,
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "hidden_act": "quick_gelu",
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))


@torch.no_grad()
def text_residual_scale(model: CLIPModel, input_ids: torch.Tensor) -> float:
    """Return the root mean square of the text tower's last residual stream at the end tokens.

    Args:
        model: the model.
        input_ids: (texts, length) int64, each row with an end token.
    """
    hidden = model.text_model(input_ids=input_ids, output_hidden_states=True).hidden_states[-1]
    ends = (input_ids == model.config.text_config.eos_token_id).int().argmax(dim=1)
    return math.sqrt(hidden[torch.arange(len(hidden)), ends].square().mean().item())


@torch.no_grad()
def shrink_text_residual(model: CLIPModel, factor: float) -> None:
    """Divide the text tower's residual stream by a factor without changing what it computes.

    Training lets the stream grow until a bias step of ordinary size no longer moves the features.
    A LayerNorm undoes any scale of its input. So all that is added to the stream (embeddings,
    attention outputs, second MLP layers) can be divided by one factor. This is exact if the
    LayerNorms' epsilon is divided by its square.
    """
    tower = model.text_model
    written = [tower.embeddings.token_embedding.weight, tower.embeddings.position_embedding.weight]
    for layer in tower.encoder.layers:
        written += [*layer.self_attn.out_proj.parameters(), *layer.mlp.fc2.parameters()]
    for parameter in written:
        parameter.div_(factor)
    config = model.config.text_config
    config.layer_norm_eps /= factor**2
    for module in tower.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = config.layer_norm_eps
