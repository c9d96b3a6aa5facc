"""A frozen checkpoint: its model, its tokenizer and how its images are prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from study.backbones.architecture import Family
from study.backbones.framing import AS_CLIP, Framing
from study.backbones.tokenizing import end_positions
from study.errors import BackboneError, DataError

if TYPE_CHECKING:
    from transformers import CLIPModel  # takes seconds to import; only loading a model needs it


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


def fingerprint(model: nn.Module) -> str:
    """Return 16 hexadecimal digits: a hash of every parameter's name, shape and bytes."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]
