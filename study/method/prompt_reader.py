"""Prompts as token ids that a text encoder can read: what they must hold, and where they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from study.errors import BackboneError, DataError


@dataclass(frozen=True)
class PromptReader:
    """A checkpoint's tokenizer, and what its text encoder can read."""

    name: str
    """Of the checkpoint, for messages."""
    tokenizer: Any
    context: int
    """Tokens of the longest prompt."""
    vocabulary: int
    """Ids that the text encoder knows."""
    eos_token_id: int

    def read(self, prompts: Sequence[str]) -> list[list[int]]:
        """Give token ids, a row a prompt, all as long as the longest prompt up to its EOT.

        Under the causal mask nothing after EOT can reach it, so the cut is exact.

        Raises:
            DataError: a prompt is longer than the context of the text encoder.
            BackboneError: the tokenizer gives ids that the text encoder does not know.
        """
        rows = self.tokenizer(list(prompts), padding=True, truncation=False)["input_ids"]
        ends = end_positions(rows, self.eos_token_id)
        length = max(ends) + 1
        if length > self.context:
            raise DataError(
                f"prompt '{prompts[ends.index(length - 1)][:80]}…' has {length} tokens; "
                f"{self.name} reads at most {self.context}"
            )
        rows = [row[:length] for row in rows]
        if (largest := max(map(max, rows))) >= self.vocabulary:
            raise BackboneError(
                f"the tokenizer of '{self.name}' gives id {largest}, its text encoder knows "
                f"0 to {self.vocabulary - 1}; the tokenizer and the model do not belong together"
            )
        return rows


def end_positions(rows: Sequence[Sequence[int]], eos_token_id: int) -> list[int]:
    """Find the position that CLIP pools in each row, as transformers does.

    A configuration from before the id was corrected says 2: the pooled position is then that of
    the largest id. Otherwise it is the first match.

    Raises:
        BackboneError: the id never occurs in a row. transformers would silently pool position 0
            there, and give every class the same feature.
    """
    if eos_token_id == 2:
        return [row.index(max(row)) for row in rows]
    for number, row in enumerate(rows):
        if eos_token_id not in row:
            raise BackboneError(
                f"token ids of prompt {number} never hold the end-of-text id {eos_token_id} of the "
                "checkpoint's text_config, so every class would get the same feature; "
                "the tokenizer and the model do not belong together"
            )
    return [row.index(eos_token_id) for row in rows]
