"""A frozen checkpoint: its model, its tokenizer and how its images are prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from study.backbones.architecture import Family
from study.backbones.framing import CLIP_FRAMING, Framing
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
    framing: Framing = CLIP_FRAMING
    """How images are brought to their size."""

    @property
    def family(self) -> Family:
        """The family of the model."""
        return self.clip.config.model_type

    @property
    def dim(self) -> int:
        """The number of features."""
        config = self.clip.config
        if self.family == "clip":
            return int(config.projection_dim)
        return int(config.text_config.projection_size)

    @property
    def state(self) -> str:
        """The fingerprint and the number format of matrices; activations depend on both."""
        matrices = (parameter for parameter in self.clip.parameters() if parameter.dim() >= 2)
        return f"{self.fingerprint} {next(matrices).dtype}"

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Return token ids, (prompts, length) int64.

        CLIP's ids are cut right after the longest prompt's EOT. The cut is exact, since under the
        causal mask nothing after EOT can reach it. SigLIP's ids are padded to the length that it
        was trained with, on the side that its tokenizer says, because each token sees all others
        and the last one is pooled.

        Raises:
            DataError: a prompt is longer than the context of the text encoder.
            BackboneError: the tokenizer returns ids that the text encoder does not have.
        """
        text = self.clip.config.text_config
        longest = text.max_position_embeddings
        # Not verbose: the tokenizer warns of long prompts, which are refused below.
        options: dict[str, Any] = {"padding": True, "verbose": False}
        if self.family != "clip":
            options.update(padding="max_length", max_length=longest, truncation=False)
        rows = self.tokenizer(list(prompts), **options)["input_ids"]
        if self.family == "clip":
            ends = end_positions(rows, text.eos_token_id)
        else:
            ends = [len(row) - 1 for row in rows]
        end = max(ends)
        length = end + 1
        if length > longest:
            prompt = prompts[ends.index(end)]
            raise DataError(
                f"prompt '{prompt[:80]}…' has {length} tokens; {self.name} allows at most {longest}"
            )
        rows = [row[:length] for row in rows]
        largest = max(max(row) for row in rows)
        if largest >= text.vocab_size:
            raise BackboneError(
                f"the tokenizer of '{self.name}' returns id {largest}; its text encoder has ids "
                f"0 to {text.vocab_size - 1}; the tokenizer does not belong to the model"
            )
        return torch.tensor(rows, dtype=torch.int64)


def fingerprint(model: nn.Module) -> str:
    """Return 16 hexadecimal digits: a hash of every parameter's name, shape and bytes."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        description = f"{name}{tuple(parameter.shape)}"
        digest.update(description.encode())
        array = parameter.detach().cpu().contiguous().numpy()
        digest.update(array.data)
    return digest.hexdigest()[:16]
