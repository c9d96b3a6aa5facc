"""A checkpoint in a folder judged without its model, in a fraction of the time of loading it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.method.prompt_reader import PromptReader

Shapes = dict[str, tuple[int, ...]]
"""The shape of each parameter, by its name in the model."""
ACTIVATIONS = {"quick_gelu", "gelu"}
"""The activation functions of the published CLIP models."""


def sound_reader(folder: Path) -> PromptReader | None:
    """Return a reader of prompts for a checkpoint that is certain to load, or None if it is not.

    After None, `study.method.model.load_backbone` finds out what is wrong, if anything is.
    """
    # These imports avoid the PyTorch part of transformers, which takes as long as all the others.
    from safetensors import safe_open
    from transformers import AutoTokenizer, CLIPConfig

    try:
        config = CLIPConfig.from_pretrained(folder, local_files_only=True)
        expected = model_shapes(config)
        with safe_open(folder / "model.safetensors", framework="numpy") as weights:
            made_for = (weights.metadata() or {}).get("format", "pt")
            shapes = {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
            fault = weights_fault((name, weights.get_tensor(name)) for name in expected)
        processor = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception:  # of many types; loading reports the cause
        return None
    sound = (
        made_for == "pt"
        and fault is None
        and expected.items() <= shapes.items()
        and has_words(tokenizer)
        and _is_plain(processor)
        and {config.text_config.hidden_act, config.vision_config.hidden_act} <= ACTIVATIONS
    )
    return prompt_reader(str(folder), tokenizer, config) if sound else None


def weights_fault(weights: Iterable[tuple[str, NDArray[Any]]]) -> str | None:
    """Return which weights no useful feature can come of, or None.

    NaN and infinity spread to every feature. A bias may be zero and a weight may not: that is what
    a file holds whose end was never written.

    Args:
        weights: every parameter of a `CLIPModel` by its name, of any floating-point type.
    """
    broken: list[str] = []
    zero: list[str] = []
    count = 0
    for name, values in weights:
        count += 1
        # NaN is the minimum of whatever holds one; what float32 cannot hold loads as infinity.
        with np.errstate(over="ignore"):
            low, high = np.float32(values.min(initial=0)), np.float32(values.max(initial=0))
        if not (np.isfinite(low) and np.isfinite(high)):
            broken.append(name)
        elif name.endswith(".weight") and low == high == 0:
            zero.append(name)
    if broken:
        return f"NaN or infinity in {len(broken)} of its {count} tensors, first {broken[0]}"
    if zero:
        return f"nothing but zeros in {len(zero)} of its {count} tensors, first {zero[0]}"
    return None


def prompt_reader(name: str, tokenizer: Any, config: Any) -> PromptReader:
    """Return a reader of prompts for the text encoder of a `CLIPConfig`."""
    text = config.text_config
    return PromptReader(
        name=name,
        tokenizer=tokenizer,
        context=text.max_position_embeddings,
        vocabulary=text.vocab_size,
        eos_token_id=text.eos_token_id,
    )


def has_words(tokenizer: Any) -> bool:
    """Return whether a tokenizer has any token that is not special.

    If its files are missing, transformers makes one that reads every word as end-of-text.
    """
    return not set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens)


def model_shapes(config: Any) -> Shapes:
    """Return the shape of every parameter of a `CLIPModel` with this `CLIPConfig`."""
    text, vision, dim = config.text_config, config.vision_config, config.projection_dim
    patches = (vision.image_size // vision.patch_size) ** 2
    patch = (vision.num_channels, vision.patch_size, vision.patch_size)
    return {
        "logit_scale": (),
        "text_projection.weight": (dim, text.hidden_size),
        "visual_projection.weight": (dim, vision.hidden_size),
        "text_model.embeddings.token_embedding.weight": (text.vocab_size, text.hidden_size),
        "text_model.embeddings.position_embedding.weight": (
            text.max_position_embeddings,
            text.hidden_size,
        ),
        "vision_model.embeddings.class_embedding": (vision.hidden_size,),
        "vision_model.embeddings.patch_embedding.weight": (vision.hidden_size, *patch),
        "vision_model.embeddings.position_embedding.weight": (patches + 1, vision.hidden_size),
        **_norm("text_model.final_layer_norm", text.hidden_size),
        **_norm("vision_model.pre_layrnorm", vision.hidden_size),
        **_norm("vision_model.post_layernorm", vision.hidden_size),
        **dict(_blocks("text_model", text)),
        **dict(_blocks("vision_model", vision)),
    }


def _blocks(tower: str, config: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, inner = config.hidden_size, config.intermediate_size
    for number in range(config.num_hidden_layers):
        block = f"{tower}.encoder.layers.{number}"
        for norm in ("layer_norm1", "layer_norm2"):
            yield from _norm(f"{block}.{norm}", width).items()
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _linear(f"{block}.self_attn.{projection}", width, width).items()
        yield from _linear(f"{block}.mlp.fc1", inner, width).items()
        yield from _linear(f"{block}.mlp.fc2", width, inner).items()


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, out: int, into: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _is_plain(processor: Any) -> bool:
    """Return whether the settings of an image processor have the form of CLIP's own."""
    return (
        isinstance(processor, dict)
        and all(_are_numbers(processor.get(key), 3) for key in ("image_mean", "image_std"))
        and all(
            isinstance(value, int)
            or (isinstance(value, dict) and _are_numbers(list(value.values()), len(value)))
            for value in (processor.get("size"), processor.get("crop_size"))
        )
    )


def _are_numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(value, int | float) for value in values)
    )
