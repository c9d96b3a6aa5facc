"""Prompts to token ids: checks that a text encoder can read them, and finds where they end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from study.errors import BackboneError, DataError


@dataclass(frozen=True)
class PromptReader:
    """A checkpoint's tokenizer and the limits of its text encoder."""

    name: str
    """The checkpoint's name, for messages."""
    tokenizer: Any
    context: int
    """The most tokens that a prompt may have."""
    vocabulary: int
    """The number of ids that the text encoder knows."""
    eos_token_id: int
    """The end-of-text id (EOT); see `end_positions`."""

    def read(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return one row of token ids for each prompt, cut right after the longest prompt's EOT.

        Under the causal mask nothing after EOT can reach it, so the cut is exact.

        Raises:
            DataError: a prompt is longer than the context of the text encoder.
            BackboneError: the tokenizer gives ids that the text encoder does not know.
        """
        rows = self.tokenizer(list(prompts), padding=True, truncation=False)["input_ids"]
        ends = end_positions(rows, self.eos_token_id)
        if (length := max(ends) + 1) > self.context:
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
    for number, row in enumerate(rows):
        if eos_token_id not in row:
            raise BackboneError(
                f"token ids of prompt {number} never hold the end-of-text id {eos_token_id} of the "
                "checkpoint's text_config, so every class would get the same feature; "
                "the tokenizer and the model do not belong together"
            )
    return [row.index(eos_token_id) for row in rows]
