"""OpenCLIP checkpoints: the same networks as transformers' CLIP, under other names.

A checkpoint is ``open_clip_config.json`` beside weights in safetensors format. What its
configuration may say is listed here; whatever else it says is refused by its name, since a model
that is read wrongly gives wrong answers without an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from study.backbones.framing import Framing, Interpolation
from study.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
_ANY = object()
# What each key may be. Where it is `_ANY`, it is read below or has no effect on features.
_MODEL: Mapping[str, Any] = {
    "embed_dim": _ANY,
    "vision_cfg": _ANY,
    "text_cfg": _ANY,
    "quick_gelu": _ANY,
    "custom_text": _ANY,  # other names for the same tensors
    "init_logit_scale": _ANY,
    "init_logit_bias": _ANY,  # it cancels in the softmax over classes
}
_BLOCKS: Mapping[str, Any] = {
    "layers": _ANY,
    "width": _ANY,
    "mlp_ratio": _ANY,
    "norm_kwargs": _ANY,
    "output_tokens": _ANY,
    "final_ln_after_pool": _ANY,  # of one token, which is pooled, it is the same
    "block_type": "default",
}
_VISION: Mapping[str, Any] = {
    **_BLOCKS,
    "image_size": _ANY,
    "patch_size": _ANY,
    "head_width": _ANY,
    "patch_dropout": _ANY,  # acts in training from scratch alone
    "attn_pooler_queries": _ANY,
    "attn_pooler_heads": _ANY,
    "pool_type": "tok",
    "pos_embed_type": _ANY,  # both kinds are in the weights
    "timm_pool": _ANY,
    "timm_proj": _ANY,
    "timm_drop": _ANY,
}
_TEXT: Mapping[str, Any] = {
    **_BLOCKS,
    "context_length": _ANY,
    "vocab_size": _ANY,
    "heads": _ANY,
    "pad_id": _ANY,
    "eos_id": _ANY,
    "hf_tokenizer_name": _ANY,
    "hf_model_pretrained": _ANY,
    "hf_proj_type": _ANY,
    "hf_pooler_type": _ANY,
    "pool_type": "argmax",
    "proj_type": "linear",
}
# OpenCLIP's names, and transformers', of the modules of a block and of what is around the blocks.
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
    **{
        f"{ours}.{tensor}": f"{theirs}.{tensor}"
        for ours, theirs in {
            "visual.ln_pre": "vision_model.pre_layrnorm",
            "visual.ln_post": "vision_model.post_layernorm",
            "ln_final": "text_model.final_layer_norm",
        }.items()
        for tensor in ("weight", "bias")
    },
}
_TURNED = {
    "visual.proj": "visual_projection.weight",
    "text_projection": "text_projection.weight",
}
"""The matrices that OpenCLIP multiplies from the other side."""
_TOWERS = {"visual.transformer": "vision_model", "transformer": "text_model"}
_EPS = 1e-5
"""What OpenCLIP's LayerNorms add to variances."""
_LARGEST_ID = 2
"""The ``eos_token_id`` by which transformers pools the largest id of a text, as OpenCLIP does."""


def clip_values(name: str | Path, contents: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the ``CLIPConfig`` of the same network.

    Args:
        name: what the checkpoint is called in errors.
        contents: the contents of ``open_clip_config.json``.

    Raises:
        BackboneError: the network is another one, or the configuration is not understood.
    """
    model = contents.get("model_cfg")
    if not isinstance(model, Mapping):
        raise BackboneError(f"backbone '{name}' has no model_cfg in its {OPEN_CLIP_CONFIG}")
    vision, text = model.get("vision_cfg") or {}, model.get("text_cfg") or {}
    for part, values, allowed in (
        ("vision_cfg.", vision, _VISION),
        ("text_cfg.", text, _TEXT),
        ("", model, _MODEL),
    ):
        _refuse_others(name, part, values, allowed)
    try:
        activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
        return {
            "model_type": "clip",
            "projection_dim": int(model["embed_dim"]),
            "vision_config": {
                **_encoder(vision, width=768),
                "num_attention_heads": int(vision.get("width", 768))
                // int(vision.get("head_width", 64)),
                "image_size": _side(vision.get("image_size", 224)),
                "patch_size": _side(vision.get("patch_size", 16)),
                "hidden_act": activation,
                "projection_dim": int(model["embed_dim"]),
            },
            "text_config": {
                **_encoder(text, width=512),
                "num_attention_heads": int(text.get("heads", 8)),
                "max_position_embeddings": int(text.get("context_length", 77)),
                "vocab_size": int(text.get("vocab_size", 49408)),
                "hidden_act": activation,
                "eos_token_id": _LARGEST_ID,
                "projection_dim": int(model["embed_dim"]),
            },
        }
    except (KeyError, TypeError, ValueError) as error:
        raise BackboneError(
            f"backbone '{name}' has an {OPEN_CLIP_CONFIG} that describes no CLIP ({error!r})"
        ) from error


def _refuse_others(
    name: str | Path, part: str, values: Mapping[str, Any], allowed: Mapping[str, Any]
) -> None:
    for key, value in values.items():
        # What is false or empty is switched off.
        if value and value != allowed.get(key) and allowed.get(key) is not _ANY:
            wanted = f"{allowed[key]!r}" if key in allowed else "a model without it"
            raise BackboneError(
                f"backbone '{name}' is an OpenCLIP model with {part}{key} = {value!r}; allowed is "
                f"{wanted}: an image encoder and a text encoder as in OpenAI's CLIP (many others "
                "are also published for transformers, which is read if it is a CLIP or a SigLIP)"
            )


def _encoder(values: Mapping[str, Any], *, width: int) -> dict[str, Any]:
    width, norm = int(values.get("width", width)), values.get("norm_kwargs") or {}
    if others := norm.keys() - {"eps"}:
        raise ValueError(f"norm_kwargs has {', '.join(sorted(others))}; allowed is eps")
    return {
        "layer_norm_eps": float(norm.get("eps", _EPS)),
        "hidden_size": width,
        "intermediate_size": int(width * values.get("mlp_ratio", 4.0)),
        "num_hidden_layers": int(values.get("layers", 12)),
    }


def _side(value: Any) -> int:
    """Return a side in pixels, of one number or of two equal ones."""
    sides = {int(one) for one in value} if isinstance(value, list | tuple) else {int(value)}
    if len(sides) != 1:
        raise ValueError(f"{value} is not square")
    return sides.pop()


def open_clip_framing(name: str | Path, contents: Mapping[str, Any]) -> Framing:
    """Return how images are brought to their size.

    Raises:
        BackboneError: images are prepared in another way.
    """
    values = contents.get("preprocess_cfg") or {}
    mode = values.get("resize_mode", "shortest")
    interpolation = values.get("interpolation", "bicubic")
    if mode not in ("shortest", "squash") or interpolation not in get_args(Interpolation):
        raise BackboneError(
            f"backbone '{name}' prepares images by resize_mode {mode!r} and interpolation "
            f"{interpolation!r}; allowed are 'shortest' and 'squash', 'bicubic' and 'bilinear'"
        )
    return Framing(mode == "squash", interpolation)


def from_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of an OpenCLIP checkpoint by their names in a ``CLIPModel``.

    Tensors that the network does not have keep their names.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = name.removeprefix("text.")
        if own in ("logit_bias", "attn_mask"):
            continue
        if own == "logit_scale":
            tensor = tensor.reshape(())
        if own in _TURNED:
            found[_TURNED[own]] = tensor.T.contiguous()
        elif own in _AROUND:
            found[_AROUND[own]] = tensor
        else:
            found.update(_of_block(own, tensor))
    return found


def _of_block(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    tower, _, rest = name.partition(".resblocks.")
    layer, _, place = rest.partition(".")
    module, _, which = place.rpartition(".")
    if tower not in _TOWERS:
        yield name, tensor
        return
    block = f"{_TOWERS[tower]}.encoder.layers.{layer}"
    if which in ("in_proj_weight", "in_proj_bias"):
        for part, one in zip("qkv", tensor.chunk(3), strict=True):
            kind = which.removeprefix("in_proj_")
            yield f"{block}.self_attn.{part}_proj.{kind}", one.clone()
    else:
        yield f"{block}.{_BLOCK.get(module, module)}.{which}", tensor


def to_open_clip(clip: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a ``CLIPModel`` as OpenCLIP's ``model_cfg``, and its tensors by OpenCLIP's names.

    Args:
        clip: the model, a transformers ``CLIPModel``.

    Raises:
        BackboneError: OpenCLIP has no such network.
    """
    import torch

    config = clip.config
    text, vision = config.text_config, config.vision_config
    activations = {text.hidden_act, vision.hidden_act}
    if config.model_type != "clip" or activations not in ({"quick_gelu"}, {"gelu"}):
        raise BackboneError(
            f"OpenCLIP's own networks have no '{config.model_type}' model with the activation "
            f"{' and '.join(sorted(activations))}; allowed is a CLIP with quick_gelu or gelu"
        )
    tensors, back = clip.state_dict(), {own: name for name, own in _AROUND.items()}
    turned = {own: name for name, own in _TURNED.items()}
    modules = {own: name for name, own in _BLOCK.items()}
    towers = {own: name for name, own in _TOWERS.items()}
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in turned:
            found[turned[name]] = tensor.T.contiguous()
        elif name in back:
            found[back[name]] = tensor
        elif ".encoder.layers." in name:
            tower, _, rest = name.partition(".encoder.layers.")
            layer, _, place = rest.partition(".")
            module, _, which = place.rpartition(".")
            block = f"{towers[tower]}.resblocks.{layer}"
            if module == "self_attn.q_proj":
                parts = [tensors[name.replace(".q_proj.", f".{one}_proj.")] for one in "qkv"]
                found[f"{block}.attn.in_proj_{which}"] = torch.cat(parts)
            elif module in modules:
                found[f"{block}.{modules[module]}.{which}"] = tensor
    values = {
        "embed_dim": config.projection_dim,
        "quick_gelu": activations == {"quick_gelu"},
        "vision_cfg": {
            **_of_encoder(vision),
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
        },
        "text_cfg": {
            **_of_encoder(text),
            "heads": text.num_attention_heads,
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
        },
    }
    return values, found


def _of_encoder(config: Any) -> dict[str, Any]:
    return {
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "mlp_ratio": config.intermediate_size / config.hidden_size,
        **(
            {} if config.layer_norm_eps == _EPS else {"norm_kwargs": {"eps": config.layer_norm_eps}}
        ),
    }
