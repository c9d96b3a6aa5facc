"""Loading of a checkpoint by its name or folder, with all its checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from safetensors import SafetensorError

from study.backbones.backbone import Backbone, fingerprint
from study.backbones.description import ALLOWED, Description, format_cause, read_description
from study.backbones.hub import PREPROCESSING, CheckpointName, silence_transformers
from study.backbones.openclip_checkpoint import OPEN_CLIP_WEIGHTS, from_open_clip
from study.backbones.siglip import split_biases
from study.backbones.tokenizing import has_words, load_tokenizer
from study.errors import BackboneError


def load_backbone(name: CheckpointName, *, revision: str | None = None) -> Backbone:
    """Load a CLIP or a SigLIP by hub name or local folder, in float32.

    The checkpoint may be stored for transformers, or by OpenCLIP. If a CLIP has no
    preprocessor_config.json, its images are prepared as for OpenAI's CLIP.

    Args:
        name: hub name or local folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: the checkpoint cannot be found or read, lacks tensors or a vocabulary, has
            weights of another shape, not finite or zero throughout, or is of no known family.
            Pickled weights are never read.
    """
    description = read_description(name, revision=revision)
    try:
        with silence_transformers():  # `_refuse_incomplete` reports the same faults of tensors
            clip, report = _load_model(description)
            tokenizer = load_tokenizer(description)
            processor = _load_processor(description)
        red, green, blue = map(float, processor.image_mean)
        red_std, green_std, blue_std = map(float, processor.image_std)
    except BackboneError:
        raise
    except SafetensorError as error:
        raise BackboneError(
            f"the weights of backbone '{name}' cannot be read ({format_cause(error)}); is the file "
            "complete?"
        ) from error
    except Exception as error:  # transformers raises many types, all about this checkpoint
        cause = f"{type(error).__name__}: {format_cause(error)}"
        raise BackboneError(f"backbone '{name}' cannot be loaded ({cause}); {ALLOWED}") from error
    _refuse_incomplete(name, clip, report)
    if not has_words(tokenizer):
        raise BackboneError(
            f"the tokenizer of backbone '{name}' has no vocabulary; expected tokenizer.json, or "
            "vocab.json and merges.txt, in the checkpoint"
        )
    if description.architecture.family == "siglip":
        split_biases(clip)
    clip.eval().requires_grad_(False)
    return Backbone(
        name=str(name),
        clip=clip,
        tokenizer=tokenizer,
        image_size=clip.config.vision_config.image_size,
        image_mean=(red, green, blue),
        image_std=(red_std, green_std, blue_std),
        fingerprint=fingerprint(clip),
        processor=processor,
        framing=description.architecture.framing,
    )


def _load_model(description: Description) -> tuple[Any, Mapping[str, Any]]:
    """Return the model, and which of its tensors were missing or of another shape.

    Raises:
        BackboneError: an OpenCLIP checkpoint has no weights in safetensors format, or tensors that
            the network of its configuration does not have.
    """
    from safetensors.torch import load_file
    from transformers import CLIPModel, SiglipModel

    source = description.source
    model_class = CLIPModel if description.architecture.family == "clip" else SiglipModel
    place: CheckpointName | None = source.name
    given: dict[str, Any] = {}
    if description.open_clip is not None:
        weights = source.find(OPEN_CLIP_WEIGHTS)
        if weights is None:
            raise BackboneError(f"backbone '{source.name}' has no {OPEN_CLIP_WEIGHTS}")
        config = description.architecture.config
        place = None
        given = {"config": config, "state_dict": from_open_clip(load_file(weights), config)}
    model, report = model_class.from_pretrained(
        place,
        dtype=torch.float32,
        output_loading_info=True,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # `_refuse_incomplete` refuses and names them
        **source.options,
        **given,
    )
    unknown = sorted(report["unexpected_keys"])
    if given and unknown:
        raise BackboneError(
            f"the weights of backbone '{source.name}' do not match its configuration: "
            f"{len(unknown)} tensors do not belong to a CLIP, such as {unknown[0]}"
        )
    return model, report


def _load_processor(description: Description) -> Any:
    """Return the image processor, with which a tuned model is saved."""
    from transformers import CLIPImageProcessor, SiglipImageProcessor

    source, architecture = description.source, description.architecture
    if description.open_clip is None and source.find(*PREPROCESSING):
        is_clip = architecture.family == "clip"
        processor_class = CLIPImageProcessor if is_clip else SiglipImageProcessor
        return processor_class.from_pretrained(source.name, **source.options)
    side, framing = architecture.image_size, architecture.framing
    square = {"height": side, "width": side}
    if architecture.family == "siglip":
        return SiglipImageProcessor(size=square)
    options: dict[str, Any] = {
        "size": square if framing.squash else {"shortest_edge": side},
        "crop_size": square,
        "resample": 2 if framing.interpolation == "bilinear" else 3,
    }
    values = (description.open_clip or {}).get("preprocess_cfg") or {}
    for key in ("mean", "std"):
        if key in values:
            options[f"image_{key}"] = list(values[key])
    return CLIPImageProcessor(**options)


def _refuse_incomplete(name: CheckpointName, clip: Any, report: Mapping[str, Any]) -> None:
    """Raise if tensors are missing, of another shape or useless."""
    missing = sorted(report["missing_keys"])
    if missing:
        model_class = type(clip).__name__
        raise BackboneError(
            f"backbone '{name}' lacks {len(missing)} tensors of a {model_class}, such as "
            f"{missing[0]}"
        )
    mismatched = sorted(report["mismatched_keys"])
    if mismatched:
        tensor, shape, expected = mismatched[0]
        raise BackboneError(
            f"the weights of backbone '{name}' do not match its config.json: {len(mismatched)} "
            f"tensors differ in shape, such as {tensor}, which has {tuple(shape)} instead of "
            f"{tuple(expected)}"
        )
    fault = find_weights_fault(clip.named_parameters())
    if fault is not None:
        raise BackboneError(
            f"backbone '{name}' has {fault}; expected finite weights that are not all zero. Is the "
            "file complete?"
        )


def find_weights_fault(weights: Iterable[tuple[str, Any]]) -> str | None:
    """Return a message that names the first useless weights; None if all are useful.

    NaN and infinity spread to every feature. A bias may be all zeros. A weight of zeros alone comes
    from a file whose end was never written.

    Args:
        weights: every parameter of a `CLIPModel` by its name, as a tensor or an array of any
            floating-point type; a value too large for float32 loads as infinity.
    """
    for name, values in weights:
        # The lowest and highest value are NaN if any value is, and cost no copy of the weights.
        ends = torch.stack(torch.as_tensor(values).aminmax()).float()
        if not ends.isfinite().all():
            return f"NaN or infinity in {name}"
        if name.endswith(".weight") and not ends.any():
            return f"only zeros in {name}"
    return None
