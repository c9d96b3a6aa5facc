"""A few-shot classifier around a CLIP model: prompts to text features, images to logits."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel
from transformers.utils import logging as transformers_logging

from study.errors import BackboneError, DataError
from study.method.freezing import TunedParameter, tuned_names, unfreeze
from study.method.subsets import Subset

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Backbone:
    """A frozen CLIP checkpoint with what turns words and images into its inputs."""

    name: str
    """Hub name or folder it was loaded from."""
    clip: CLIPModel
    tokenizer: Any
    image_size: int
    """Pixels; images are square."""
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    fingerprint: str
    """Sixteen hexadecimal digits over every parameter's name and bytes."""

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Give token ids (prompts, length) int64, cut right after the longest prompt's EOT.

        Under the causal mask nothing after EOT can reach it, so the cut is exact.

        Raises:
            DataError: a prompt is longer than the context of the text encoder.
            BackboneError: the tokenizer gives ids that the text encoder does not know.
        """
        context = self.clip.config.text_config.max_position_embeddings
        vocabulary = self.clip.config.text_config.vocab_size
        eos_token_id = self.clip.config.text_config.eos_token_id
        encoded = self.tokenizer(list(prompts), padding=True, truncation=False)["input_ids"]
        ids = cut_after_end(torch.tensor(encoded, dtype=torch.int64), eos_token_id)
        if ids.shape[1] > context:
            longest = int(end_of_text(ids, eos_token_id).argmax())
            raise DataError(
                f"prompt '{prompts[longest][:80]}…' has {ids.shape[1]} tokens; "
                f"{self.name} reads at most {context}"
            )
        if int(ids.max()) >= vocabulary:
            raise BackboneError(
                f"the tokenizer of '{self.name}' gives id {int(ids.max())}, its text encoder knows "
                f"0 to {vocabulary - 1}; the tokenizer and the model do not belong together"
            )
        return ids


def load_backbone(name: str | Path, *, revision: str | None = None) -> Backbone:
    """Load a Hugging Face `CLIPModel` by hub name or local folder, in float32.

    Args:
        name: hub name, or folder.
        revision: branch, tag or commit on the hub; a folder has none.

    Raises:
        BackboneError: the checkpoint cannot be found or read, lacks tensors, or is no CLIP.
            Pickled weights are not read.
    """
    options: dict[str, Any] = {"revision": revision} if revision else {}
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        if Path(name).is_dir():
            options["local_files_only"] = True
        clip, report = CLIPModel.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True, use_safetensors=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        processor = CLIPImageProcessor.from_pretrained(name, **options)
    except Exception as error:  # transformers raises many kinds, all of them about this checkpoint
        raise BackboneError(
            f"backbone '{name}' cannot be loaded ({type(error).__name__}: {error}); allowed is a "
            "Hugging Face CLIP checkpoint with safetensors weights, by hub name or local folder"
        ) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    if missing := sorted(report["missing_keys"]):
        raise BackboneError(
            f"backbone '{name}' lacks {len(missing)} tensors of a CLIPModel, first {missing[0]}"
        )
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        # Without its files transformers makes one that reads every word as end-of-text.
        raise BackboneError(
            f"backbone '{name}' has a tokenizer without words; allowed is a checkpoint with its "
            "tokenizer.json, or vocab.json and merges.txt"
        )
    clip.eval().requires_grad_(False)
    size = clip.config.vision_config.image_size
    return Backbone(
        name=str(name),
        clip=clip,
        tokenizer=tokenizer,
        image_size=size,
        image_mean=tuple(processor.image_mean),
        image_std=tuple(processor.image_std),
        fingerprint=fingerprint(clip),
    )


def fingerprint(model: nn.Module) -> str:
    """Hash every parameter: name, shape and bytes."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def end_of_text(input_ids: Tensor, eos_token_id: int) -> Tensor:
    """Find the position that CLIP pools in each row, as transformers does. (rows,) int64.

    A configuration from before the id was corrected says 2: the pooled position is then that of
    the largest id. Otherwise it is the first match.

    Raises:
        BackboneError: the id never occurs in a row. transformers would silently pool position 0
            there, and give every class the same feature.
    """
    if eos_token_id == 2:
        return input_ids.argmax(dim=-1)
    matches = input_ids == eos_token_id
    if not bool(matches.any(dim=-1).all()):
        row = int((~matches.any(dim=-1)).nonzero()[0])
        raise BackboneError(
            f"token ids of prompt {row} never hold the end-of-text id {eos_token_id} of the "
            "checkpoint's text_config, so every class would get the same feature; "
            "the tokenizer and the model do not belong together"
        )
    return matches.int().argmax(dim=-1)


def cut_after_end(input_ids: Tensor, eos_token_id: int) -> Tensor:
    """Drop the columns after the last end-of-text: (rows, length) to (rows, shorter)."""
    return input_ids[:, : int(end_of_text(input_ids, eos_token_id).max()) + 1]


class FewShotClassifier(nn.Module):
    """CLIP as a classifier over a list of prompts, with a few of its own parameters tuned.

    It shares every frozen tensor with the backbone and owns a copy of the tuned ones, so many
    classifiers stand beside each other for the memory of one, and the backbone stays as it was.
    Since moving a shared tensor moves it for all, move the backbone to its device, then build.

    Args:
        backbone: the checkpoint; frozen, but for the copies.
        subset: what is tuned.
        precision: what the encoders compute in. Parameters, features and losses stay float32. There
            is no loss scaling, so small gradients may vanish in float16; bfloat16 has its range.

    Raises:
        SubsetError: the subset names what the backbone does not have.
    """

    def __init__(
        self, backbone: Backbone, subset: Subset, *, precision: Precision = "float32"
    ) -> None:
        super().__init__()
        owned = tuned_names(backbone.clip, subset)
        shared = {id(p): p for name, p in backbone.clip.named_parameters() if name not in owned}
        self.clip: CLIPModel = copy.deepcopy(backbone.clip, shared)
        self.tuned: list[TunedParameter] = unfreeze(self.clip, subset)
        self.precision = precision

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.clip.logit_scale.device

    def encode_text(self, input_ids: Tensor) -> Tensor:
        """Give unit-length text features: (classes, length) int64 to (classes, dim) float32."""
        with self.autocast():
            features = self.clip.get_text_features(input_ids=input_ids).pooler_output
        return self._unit(features)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Give unit-length image features: (batch, 3, size, size) to (batch, dim) float32."""
        with self.autocast():
            features = self.clip.get_image_features(pixel_values=pixel_values).pooler_output
        return self._unit(features)

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Give scaled cosines: (batch, dim) and (classes, dim) to (batch, classes) float32."""
        return self.clip.logit_scale.exp() * image_features @ text_features.T

    def _unit(self, features: Tensor) -> Tensor:
        return F.normalize(features.to(self.clip.logit_scale.dtype), dim=-1)

    def autocast(self) -> AbstractContextManager[Any]:
        """Run an encoder in reduced precision; parameters, features and losses stay float32."""
        enabled = self.precision != "float32"
        dtype = torch.float16 if self.precision == "float16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=enabled)
