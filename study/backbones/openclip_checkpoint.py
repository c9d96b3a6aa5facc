"""OpenCLIP checkpoints: the same networks as transformers' CLIP, under other names.

A checkpoint is ``open_clip_config.json`` and weights in safetensors format. Keys and values of its
configuration that are not known are refused by name, since a model that is read wrongly gives wrong
answers without an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from study.backbones.framing import Framing, Interpolation
from study.backbones.hub import CheckpointName
from study.errors import BackboneError
from study.storage.result_folder import JsonObject

if TYPE_CHECKING:
    from torch import Tensor

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
_Tensors: TypeAlias = "dict[str, Tensor]"
"""Tensors by their names."""
_Values = Mapping[str, Any]
"""The keys and values of a section of a configuration."""
_MODEL_KEYS = frozenset(
    {
        "embed_dim",
        "vision_cfg",
        "text_cfg",
        "quick_gelu",
        "custom_text",  # other names for the same tensors
        "init_logit_scale",
        "init_logit_bias",  # it cancels in the softmax over classes
    }
)
"""The keys of a model with any value; they are read, or features do not depend on them."""
_ENCODER_KEYS = frozenset(
    {
        "layers",
        "width",
        "mlp_ratio",
        "norm_kwargs",
        "output_tokens",
        "final_ln_after_pool",  # the same if one token is pooled
    }
)
"""Such keys of both encoders."""
_VISION_KEYS = _ENCODER_KEYS | {
    "image_size",
    "patch_size",
    "head_width",
    "patch_dropout",  # acts in training from scratch only
    "attn_pooler_queries",
    "attn_pooler_heads",
    "pos_embed_type",  # both kinds are in the weights
    "timm_pool",
    "timm_proj",
    "timm_drop",
}
_TEXT_KEYS = _ENCODER_KEYS | {
    "context_length",
    "vocab_size",
    "heads",
    "pad_id",
    "eos_id",
    "hf_tokenizer_name",
    "hf_model_pretrained",
    "hf_proj_type",
    "hf_pooler_type",
}
_VISION_VALUES = {"block_type": "default", "pool_type": "tok"}
"""The only values of further keys."""
_TEXT_VALUES = {"block_type": "default", "pool_type": "argmax", "proj_type": "linear"}
# The names in OpenCLIP and in transformers, for the modules of a block and outside the blocks.
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_AROUND = {
    "logit_scale": "logit_scale",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
_TRANSPOSED = {
    "visual.proj": "visual_projection.weight",
    "text_projection": "text_projection.weight",
}
"""The matrices that are transposed in OpenCLIP."""
_TOWERS = {
    "visual.transformer": ("vision_model", "vision_config"),
    "transformer": ("text_model", "text_config"),
}
"""The path of each encoder's blocks in OpenCLIP, and those of the encoder and its configuration."""
_EPS = 1e-5
"""The number that OpenCLIP's LayerNorms add to variances."""
_LARGEST_ID = 2
"""The ``eos_token_id`` by which transformers pools the largest id of a text, as OpenCLIP does."""


def clip_values(name: CheckpointName, contents: _Values) -> JsonObject:
    """Return the values of the ``CLIPConfig`` of the same network.

    Args:
        name: the checkpoint's name in errors.
        contents: the contents of ``open_clip_config.json``.

    Raises:
        BackboneError: the network is another one, or the configuration is not understood.
    """
    model = contents.get("model_cfg")
    if not isinstance(model, Mapping):
        raise BackboneError(f"backbone '{name}' has no model_cfg in its {OPEN_CLIP_CONFIG}")
    vision = model.get("vision_cfg") or {}
    text = model.get("text_cfg") or {}
    for section, values, keys, fixed in (
        ("vision_cfg.", vision, _VISION_KEYS, _VISION_VALUES),
        ("text_cfg.", text, _TEXT_KEYS, _TEXT_VALUES),
        ("", model, _MODEL_KEYS, dict[str, str]()),
    ):
        for key, value in values.items():
            # False and empty values are allowed.
            if value and key not in keys and value != fixed.get(key):
                allowed = repr(fixed[key]) if key in fixed else "a model without it"
                raise BackboneError(
                    f"backbone '{name}' is an OpenCLIP model with {section}{key} = {value!r}; "
                    f"expected {allowed}, as in OpenAI's CLIP. If the model is also published "
                    "for transformers as a CLIP or SigLIP, use that checkpoint"
                )
    try:
        vision_config = _encoder_values(vision, model, default_width=768)
        vision_config |= {
            "num_attention_heads": vision_config["hidden_size"]
            // int(vision.get("head_width", 64)),
            "image_size": _read_side(vision.get("image_size", 224)),
            "patch_size": _read_side(vision.get("patch_size", 16)),
        }
        text_config = {
            **_encoder_values(text, model, default_width=512),
            "num_attention_heads": int(text.get("heads", 8)),
            "max_position_embeddings": int(text.get("context_length", 77)),
            "vocab_size": int(text.get("vocab_size", 49408)),
            "eos_token_id": _LARGEST_ID,
        }
        return {
            "model_type": "clip",
            "projection_dim": int(model["embed_dim"]),
            "vision_config": vision_config,
            "text_config": text_config,
        }
    except (KeyError, TypeError, ValueError) as error:
        raise BackboneError(
            f"backbone '{name}' has an {OPEN_CLIP_CONFIG} that doesn't describe a CLIP ({error!r})"
        ) from error


def _encoder_values(encoder: _Values, model: _Values, *, default_width: int) -> JsonObject:
    """Return the values that both encoders have."""
    width = int(encoder.get("width", default_width))
    norm = encoder.get("norm_kwargs") or {}
    others = norm.keys() - {"eps"}
    if others:
        raise ValueError(f"norm_kwargs has {', '.join(sorted(others))}; expected eps")
    activation = "gelu"
    if model.get("quick_gelu"):
        activation = "quick_gelu"
    return {
        "layer_norm_eps": float(norm.get("eps", _EPS)),
        "hidden_size": width,
        "intermediate_size": int(width * encoder.get("mlp_ratio", 4.0)),
        "num_hidden_layers": int(encoder.get("layers", 12)),
        "hidden_act": activation,
        "projection_dim": int(model["embed_dim"]),
    }


def _read_side(value: Any) -> int:
    """Return a side in pixels from one number or from two equal numbers."""
    if not isinstance(value, list | tuple):
        value = [value]
    sides = {int(side) for side in value}
    if len(sides) != 1:
        raise ValueError(f"{value} is not square")
    return sides.pop()


def open_clip_framing(name: CheckpointName, contents: _Values) -> Framing:
    """Return how images are brought to their size.

    Raises:
        BackboneError: images are prepared in another way.
    """
    values = contents.get("preprocess_cfg") or {}
    mode = values.get("resize_mode", "shortest")
    interpolation = values.get("interpolation", "bicubic")
    if mode not in ("shortest", "squash") or interpolation not in get_args(Interpolation):
        raise BackboneError(
            f"backbone '{name}' has resize_mode {mode!r} and interpolation {interpolation!r}; "
            f"expected 'shortest' or 'squash', and 'bicubic' or 'bilinear'"
        )
    return Framing(mode == "squash", interpolation)


def _names(config: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each tensor in OpenCLIP, and those in transformers that it is made of.

    Args:
        config: the ``CLIPConfig`` of the network.
    """
    for theirs, ours in (_AROUND | _TRANSPOSED).items():
        yield theirs, [ours]
    for tower, (model, section) in _TOWERS.items():
        for layer in range(getattr(config, section).num_hidden_layers):
            their_block = f"{tower}.resblocks.{layer}"
            block = f"{model}.encoder.layers.{layer}"
            for kind in ("weight", "bias"):
                thirds = [f"{block}.self_attn.{letter}_proj.{kind}" for letter in "qkv"]
                yield f"{their_block}.attn.in_proj_{kind}", thirds
                for theirs, ours in _BLOCK.items():
                    yield f"{their_block}.{theirs}.{kind}", [f"{block}.{ours}.{kind}"]


def from_open_clip(tensors: Mapping[str, Tensor], config: Any) -> _Tensors:
    """Return the tensors of an OpenCLIP checkpoint by their names in a ``CLIPModel``.

    Tensors that the network does not have keep their names.

    Args:
        tensors: the tensors by OpenCLIP's names.
        config: the ``CLIPConfig`` of the network.
    """
    unread = {name.removeprefix("text."): tensor for name, tensor in tensors.items()}
    renamed = {}
    for theirs, ours in _names(config):
        if theirs not in unread:
            continue
        tensor = unread.pop(theirs)
        if theirs in _TRANSPOSED:
            tensor = tensor.T
        elif theirs == "logit_scale":
            tensor = tensor.reshape(())
        parts = [tensor]
        if len(ours) > 1:
            parts = list(tensor.chunk(len(ours)))
        for name, part in zip(ours, parts, strict=True):
            renamed[name] = part.contiguous()
    for name in ("logit_bias", "attn_mask"):
        unread.pop(name, None)
    return renamed | unread


def to_open_clip(clip: Any) -> tuple[JsonObject, _Tensors]:
    """Return a ``CLIPModel`` as OpenCLIP's ``model_cfg``, and its tensors by OpenCLIP's names.

    Args:
        clip: the model, a transformers ``CLIPModel``.

    Raises:
        BackboneError: OpenCLIP has no such network.
    """
    import torch

    config = clip.config
    text = config.text_config
    vision = config.vision_config
    activations = {text.hidden_act, vision.hidden_act}
    if config.model_type != "clip" or activations not in ({"quick_gelu"}, {"gelu"}):
        raise BackboneError(
            f"OpenCLIP has no '{config.model_type}' model with the activation "
            f"{' and '.join(sorted(activations))}; expected a CLIP with quick_gelu or gelu"
        )
    vision_cfg = {
        **_encoder_cfg(vision),
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "head_width": vision.hidden_size // vision.num_attention_heads,
    }
    text_cfg = {
        **_encoder_cfg(text),
        "heads": text.num_attention_heads,
        "context_length": text.max_position_embeddings,
        "vocab_size": text.vocab_size,
    }
    model_cfg = {
        "embed_dim": config.projection_dim,
        "quick_gelu": activations == {"quick_gelu"},
        "vision_cfg": vision_cfg,
        "text_cfg": text_cfg,
    }
    tensors = clip.state_dict()
    renamed = {}
    for theirs, ours in _names(config):
        tensor = tensors[ours[0]]
        if len(ours) > 1:
            tensor = torch.cat([tensors[name] for name in ours])
        elif theirs in _TRANSPOSED:
            tensor = tensor.T.contiguous()
        renamed[theirs] = tensor
    return model_cfg, renamed


def _encoder_cfg(config: Any) -> JsonObject:
    """Return the values that ``vision_cfg`` and ``text_cfg`` both have."""
    cfg = {
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "mlp_ratio": config.intermediate_size / config.hidden_size,
    }
    if config.layer_norm_eps != _EPS:
        cfg["norm_kwargs"] = {"eps": config.layer_norm_eps}
    return cfg
