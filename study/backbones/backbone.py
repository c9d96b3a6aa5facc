"""A frozen checkpoint: its model, its tokenizer and how its images are prepared, each checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from study.backbones.architecture import Family
from study.backbones.description import Description, describe, first_lines
from study.backbones.framing import AS_CLIP, Framing
from study.backbones.hub import cached, lacks_preprocessing, transformers_quiet
from study.backbones.openclip_checkpoint import OPEN_CLIP_WEIGHTS, from_open_clip
from study.backbones.siglip import part_biases
from study.errors import BackboneError, DataError

if TYPE_CHECKING:
    from transformers import CLIPModel  # takes seconds to import; only loading a model needs it


TOKENIZER = ("tokenizer.json", "vocab.json")
"""The files of which a tokenizer of CLIP has one."""


@dataclass(frozen=True)
class Backbone:
    """A frozen checkpoint, with its tokenizer and the preprocessing of its images."""

    name: str
    """The hub name or folder that it was loaded from."""
    clip: CLIPModel
    """The model: a ``CLIPModel``, or a ``SiglipModel``, which has the same methods."""
    tokenizer: Any
    image_size: int
    """The side of the square images, in pixels."""
    image_mean: tuple[float, float, float]
    """The mean of each colour channel, for pixels between 0 and 1."""
    image_std: tuple[float, float, float]
    """The standard deviation of each colour channel."""
    fingerprint: str
    """The hash of all parameters; see `fingerprint`."""
    processor: Any = None
    """The image processor, to be saved with the model; None without one."""
    framing: Framing = AS_CLIP
    """How images are brought to their size."""

    @property
    def family(self) -> Family:
        """The family of the model."""
        family: Family = self.clip.config.model_type
        return family

    @property
    def dim(self) -> int:
        """The number of features."""
        config = self.clip.config
        return int(
            config.projection_dim if self.family == "clip" else config.text_config.projection_size
        )

    @property
    def state(self) -> str:
        """The fingerprint and what the matrices are held in; activations depend on both."""
        matrix = next(one for one in self.clip.parameters() if one.dim() >= 2)
        return f"{self.fingerprint} {matrix.dtype}"

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Return token ids, (prompts, length) int64.

        Those of CLIP are cut right after the longest prompt's EOT: under the causal mask nothing
        after EOT can reach it, so the cut is exact. Those of SigLIP are padded to the length that
        it was trained with, on the side that its tokenizer says: each token sees all others, and
        the last is pooled.

        Raises:
            DataError: a prompt is longer than the context of the text encoder.
            BackboneError: the tokenizer gives ids that the text encoder does not know.
        """
        text = self.clip.config.text_config
        longest = text.max_position_embeddings
        if self.family == "clip":
            # Not verbose: it warns of long prompts, which are refused below.
            rows = self.tokenizer(list(prompts), padding=True, verbose=False)["input_ids"]
            length = max(ends := end_positions(rows, text.eos_token_id)) + 1
        else:
            padding = {"padding": "max_length", "max_length": longest, "truncation": False}
            rows = self.tokenizer(list(prompts), verbose=False, **padding)["input_ids"]
            length = max(ends := [len(row) - 1 for row in rows]) + 1
        if length > longest:
            raise DataError(
                f"prompt '{prompts[ends.index(length - 1)][:80]}…' has {length} tokens; "
                f"{self.name} reads at most {longest}"
            )
        rows = [row[:length] for row in rows]
        if (largest := max(map(max, rows))) >= text.vocab_size:
            raise BackboneError(
                f"the tokenizer of '{self.name}' gives id {largest}, its text encoder knows "
                f"0 to {text.vocab_size - 1}; the tokenizer and the model do not belong together"
            )
        return torch.tensor(rows, dtype=torch.int64)


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
            tokenizer = _load_tokenizer(name, revision, found)
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


def _load_tokenizer(name: str | Path, revision: str | None, found: Description) -> Any:
    """Return the tokenizer.

    OpenCLIP reads texts by its own, unless the configuration names another. Where ``open_clip`` is
    not installed, the one that most of its checkpoints bring gives the same tokens.
    """
    from transformers import AutoTokenizer

    if found.open_clip is not None:
        text = found.open_clip["model_cfg"].get("text_cfg") or {}
        named = text.get("hf_tokenizer_name")
        if not named and (own := _open_clip_tokenizer(text)) is not None:
            return own
        if all(cached(str(name), f, revision, locally=found.locally) is None for f in TOKENIZER):
            raise BackboneError(
                f"backbone '{name}' is an OpenCLIP checkpoint without the files of a tokenizer; "
                + (
                    f"allowed is one that has those of {named!r}, which its configuration names"
                    if named
                    else "its vocabulary is in the optional extra: pip install "
                    "'clipfit-study[openclip]'"
                )
            )
    options = {"revision": revision or "main", "local_files_only": found.locally}
    try:
        return AutoTokenizer.from_pretrained(name, **options)
    except (ImportError, ValueError) as error:
        if "sentencepiece" in str(error).lower() or "protobuf" in str(error).lower():
            raise BackboneError(
                f"backbone '{name}' has a tokenizer that needs the optional extra: "
                "pip install 'clipfit-study[siglip]', which brings sentencepiece and protobuf"
            ) from error
        raise


def _open_clip_tokenizer(text: Mapping[str, Any]) -> Any:
    """Return the tokenizer that OpenCLIP uses for its own networks, in transformers' form.

    None means that ``open_clip``, an optional extra, is not installed.
    """
    try:
        from open_clip import SimpleTokenizer  # it takes seconds to import
    except ImportError:
        return None
    from transformers import CLIPTokenizer

    own = SimpleTokenizer()
    first, last = (own.decoder[one] for one in (own.sot_token_id, own.eot_token_id))
    return CLIPTokenizer(
        vocab=dict(own.encoder),
        merges=[*own.bpe_ranks],
        bos_token=first,
        eos_token=last,
        pad_token=last,
        unk_token=last,
        model_max_length=int(text.get("context_length", 77)),
    )


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


def end_positions(rows: Sequence[Sequence[int]], eos_token_id: int) -> list[int]:
    """Return the position that CLIP pools in each row of token ids, as transformers does.

    Old configurations wrongly say 2: then it is the position of the largest id. Otherwise it is the
    first position of ``eos_token_id``.

    Raises:
        BackboneError: a row lacks the id. transformers would silently pool its position 0 and give
            every class the same feature.
    """
    if eos_token_id == 2:
        return [row.index(max(row)) for row in rows]
    if lacking := [number for number, row in enumerate(rows) if eos_token_id not in row]:
        raise BackboneError(
            f"token ids of prompt {lacking[0]} never hold the end-of-text id {eos_token_id} of the "
            "checkpoint's text_config, so every class would get the same feature; "
            "the tokenizer and the model do not belong together"
        )
    return [row.index(eos_token_id) for row in rows]


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


def has_words(tokenizer: Any) -> bool:
    """Return whether a tokenizer has any token that is not special.

    If its files are missing, transformers makes one that reads every word as end-of-text.
    """
    return not set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens)


def _three_numbers(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def fingerprint(model: nn.Module) -> str:
    """Return 16 hexadecimal digits: a hash of every parameter's name, shape and bytes."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]
