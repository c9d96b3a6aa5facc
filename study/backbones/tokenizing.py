"""The tokenizer of a checkpoint, loaded, and the place in its ids that the text encoder pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study.backbones.description import Description
from study.backbones.hub import cached
from study.errors import BackboneError

TOKENIZER = ("tokenizer.json", "vocab.json")
"""The files of which a tokenizer of CLIP has one."""


def load_tokenizer(name: str | Path, revision: str | None, found: Description) -> Any:
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


def has_words(tokenizer: Any) -> bool:
    """Return whether a tokenizer has any token that is not special.

    If its files are missing, transformers makes one that reads every word as end-of-text.
    """
    return not set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens)


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
