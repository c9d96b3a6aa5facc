"""From a name or a folder to a checkpoint that is loaded and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from study.backbones.backbone import Backbone, fingerprint
from study.backbones.description import Description, describe, first_lines
from study.backbones.hub import cached, lacks_preprocessing, transformers_quiet
from study.backbones.openclip_checkpoint import OPEN_CLIP_WEIGHTS, from_open_clip
from study.backbones.siglip import part_biases
from study.backbones.tokenizing import has_words, load_tokenizer
from study.errors import BackboneError


def load_backbone(name: str | Path, *, revision: str | None = None) -> Backbone:
    """Load a CLIP or a SigLIP by hub name or local folder, in float32.

    It may be stored for transformers, or as an OpenCLIP checkpoint. A CLIP without
    preprocessor_config.json has its images prepared as for OpenAI's CLIP.

    Args:
        name: hub name or local folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: the checkpoint cannot be found or read, lacks tensors or a vocabulary, has
            weights of another shape, not finite or zero throughout, or is of no known family.
            Pickled weights are never read.
    """
    found = describe(name, revision=revision)
    try:
        _import_models()
        with transformers_quiet():  # it tells of tensors what is told below
            if found.open_clip is not None:
                clip, report = _load_open_clip(name, revision, found)
            else:
                clip, report = _load_transformers(name, revision, found)
            tokenizer = load_tokenizer(name, revision, found)
            processor = _load_processor(name, revision, found)
        image_mean = _three_numbers(processor.image_mean)
        image_std = _three_numbers(processor.image_std)
    except BackboneError:
        raise
    except SafetensorError as error:
        raise BackboneError(
            f"backbone '{name}' has weights that cannot be read ({first_lines(error)}): was the "
            "file written whole?"
        ) from error
    except Exception as error:  # transformers raises many types, all about this checkpoint
        allowed = "" if Path(name).is_dir() else ", by hub name or local folder"
        raise BackboneError(
            f"backbone '{name}' cannot be loaded ({type(error).__name__}: {first_lines(error)}); "
            f"allowed is a Hugging Face CLIP checkpoint with safetensors weights{allowed}"
        ) from error
    _refuse_incomplete(name, clip, report)
    if not has_words(tokenizer):
        raise BackboneError(
            f"backbone '{name}' has a tokenizer without words; allowed is a checkpoint with its "
            "tokenizer.json, or vocab.json and merges.txt"
        )
    if found.family == "siglip":
        part_biases(clip)
    clip.eval().requires_grad_(False)
    return Backbone(
        name=str(name),
        clip=clip,
        tokenizer=tokenizer,
        image_size=clip.config.vision_config.image_size,
        image_mean=image_mean,
        image_std=image_std,
        fingerprint=fingerprint(clip),
        processor=processor,
        framing=found.framing,
    )


def _import_models() -> None:
    """Import what models are made of, in a thread that has no variables of anybody's.

    PyTorch leaves the frames of who imports it in cycles (``torch.fx.wrap``). If these were the
    caller's, the backbone that they hold would stay until garbage is collected, and for ever where
    `study.process.garbage` leaves that out.
    """
    with ThreadPoolExecutor(1) as alone:
        alone.submit(attrgetter("CLIPModel", "SiglipModel"), import_module("transformers")).result()


def _load_transformers(
    name: str | Path, revision: str | None, found: Description
) -> tuple[Any, Mapping[str, Any]]:
    """Return the model, and which of its tensors were missing or of another shape."""
    from transformers import CLIPModel, SiglipModel

    return (CLIPModel if found.family == "clip" else SiglipModel).from_pretrained(
        name,
        dtype=torch.float32,
        output_loading_info=True,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # they are refused later, and named
        revision=revision or "main",
        local_files_only=found.locally,
    )


def _load_open_clip(
    name: str | Path, revision: str | None, found: Description
) -> tuple[Any, Mapping[str, Any]]:
    """Return the model, and which of its tensors were missing or of another shape.

    Raises:
        BackboneError: there are no weights in safetensors format, or tensors that the network of
            the configuration does not have.
    """
    from safetensors.torch import load_file
    from transformers import CLIPModel

    clip = CLIPModel(found.config)
    own = clip.state_dict()
    tensors = from_open_clip(load_file(_open_clip_weights(name, revision, found)))
    if unknown := sorted(tensors.keys() - own.keys()):
        raise BackboneError(
            f"backbone '{name}' has {len(unknown)} tensors that a CLIP does not have, first "
            f"{unknown[0]}: it is another network than its configuration says"
        )
    mismatched = [
        (key, tensor.shape, own[key].shape)
        for key, tensor in tensors.items()
        if tensor.shape != own[key].shape
    ]
    missing = own.keys() - tensors.keys()
    if not mismatched and not missing:
        clip.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    return clip, {"missing_keys": missing, "mismatched_keys": mismatched}


def _open_clip_weights(name: str | Path, revision: str | None, found: Description) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        path = cached(str(name), OPEN_CLIP_WEIGHTS, revision, locally=found.locally)
        files = [] if path is None else [Path(path)]
    elif (usual := folder / OPEN_CLIP_WEIGHTS).exists():
        files = [usual]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise BackboneError(
            f"backbone '{name}' has {len(files)} files of weights; allowed is {OPEN_CLIP_WEIGHTS}, "
            "or one file in safetensors format in a folder"
        )
    return files[0]


def _load_processor(name: str | Path, revision: str | None, found: Description) -> Any:
    """Return the image processor, which a tuned model is saved with."""
    from transformers import CLIPImageProcessor, SiglipImageProcessor

    side = found.config.vision_config.image_size
    square = {"height": side, "width": side}
    if found.open_clip is None and not lacks_preprocessing(name, revision, locally=found.locally):
        options = {"revision": revision or "main", "local_files_only": found.locally}
        kind = CLIPImageProcessor if found.family == "clip" else SiglipImageProcessor
        return kind.from_pretrained(name, **options)
    if found.family == "siglip":
        return SiglipImageProcessor(size=square)
    values = (found.open_clip or {}).get("preprocess_cfg") or {}
    normal = {f"image_{key}": [*values[key]] for key in ("mean", "std") if key in values}
    return CLIPImageProcessor(
        size=square if found.framing.squash else {"shortest_edge": side},
        crop_size=square,
        resample=2 if found.framing.interpolation == "bilinear" else 3,
        **normal,
    )


def _refuse_incomplete(name: str | Path, clip: Any, report: Mapping[str, Any]) -> None:
    """Raise if tensors are missing, of another shape or useless."""
    called = type(clip).__name__
    if missing := sorted(report["missing_keys"]):
        raise BackboneError(
            f"backbone '{name}' lacks {len(missing)} tensors of a {called}, first {missing[0]}"
        )
    if mismatched := sorted(report["mismatched_keys"]):
        tensor, there, wanted = mismatched[0]
        raise BackboneError(
            f"backbone '{name}' has {len(mismatched)} tensors of another shape than its "
            f"config.json says, first {tensor}: {tuple(there)} in the weights, and "
            f"{tuple(wanted)} by config.json; the two files do not belong together"
        )
    if fault := weights_fault(clip.named_parameters()):
        raise BackboneError(
            f"backbone '{name}' has {fault}; allowed are finite weights that are not zero "
            "throughout: was the file written whole?"
        )


def weights_fault(weights: Iterable[tuple[str, Any]]) -> str | None:
    """Return which weights are useless, as a message; None if there are none.

    NaN and infinity spread to every feature. A bias may be all zeros; a weight that is comes from a
    file whose end was never written.

    Args:
        weights: every parameter of a `CLIPModel` by its name, as a tensor or an array of any
            floating-point type; a value too large for float32 loads as infinity.
    """
    # The lowest and highest value are NaN if any value is, and cost no copy of the weights.
    ends = {name: torch.stack(torch.as_tensor(v).aminmax()).float() for name, v in weights}
    broken = [name for name, found in ends.items() if not found.isfinite().all()]
    zero = [name for name, found in ends.items() if name.endswith(".weight") and not found.any()]
    for fault, names in (("NaN or infinity", broken), ("nothing but zeros", zero)):
        if names:
            return f"{fault} in {len(names)} of its {len(ends)} tensors, first {names[0]}"
    return None


def _three_numbers(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
