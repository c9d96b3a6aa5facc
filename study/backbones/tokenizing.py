"""The tokenizer of a checkpoint, and the position in its ids that the text encoder pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from study.backbones.description import Description
from study.errors import BackboneError

TOKENIZER = ("tokenizer.json", "vocab.json")
"""The files of a tokenizer of CLIP, which has at least one of them."""


def load_tokenizer(description: Description) -> Any:
    """Return the tokenizer of a checkpoint.

    OpenCLIP has a tokenizer of its own, and uses it unless the configuration names another one. If
    ``open_clip`` is not installed, the tokenizer in most of OpenCLIP's checkpoints gives the same
    tokens.

    SigLIP was trained on small letters. The checkpoints of SigLIP 2 name Gemma's tokenizer, which
    keeps capitals; transformers' own for SigLIP 2 is the same without them.
    """
    from transformers import AutoTokenizer, GemmaTokenizer, Siglip2Tokenizer
    from transformers.utils import is_protobuf_available, is_sentencepiece_available

    source = description.source
    if description.open_clip is not None:
        text = description.open_clip["model_cfg"].get("text_cfg") or {}
        other_name = text.get("hf_tokenizer_name")
        if not other_name:
            tokenizer = _open_clip_tokenizer(text)
            if tokenizer is not None:
                return tokenizer
        if not source.find(*TOKENIZER):
            raise BackboneError(
                f"backbone '{source.name}' is an OpenCLIP checkpoint without the files of its "
                f"tokenizer, {other_name or 'that of CLIP'}; add them, or for the tokenizer of "
                "CLIP, pip install 'clipfit-study[openclip]'"
            )
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.name, **source.options)
        if description.architecture.family == "siglip" and isinstance(tokenizer, GemmaTokenizer):
            return Siglip2Tokenizer.from_pretrained(source.name, **source.options)
        return tokenizer
    except (ImportError, ValueError) as error:
        if is_sentencepiece_available() and is_protobuf_available():
            raise
        raise BackboneError(
            f"the tokenizer of backbone '{source.name}' needs an optional extra (sentencepiece and "
            "protobuf): pip install 'clipfit-study[siglip]'"
        ) from error


def _open_clip_tokenizer(text: Mapping[str, Any]) -> Any:
    """Return the tokenizer that OpenCLIP uses for its own networks, in transformers' form.

    None means that ``open_clip``, an optional extra, is not installed.
    """
    try:
        from open_clip import SimpleTokenizer  # it takes seconds to import
    except ImportError:
        return None
    from transformers import CLIPTokenizer

    original = SimpleTokenizer()
    start = original.decoder[original.sot_token_id]
    end = original.decoder[original.eot_token_id]
    return CLIPTokenizer(
        vocab=dict(original.encoder),
        merges=list(original.bpe_ranks),
        bos_token=start,
        eos_token=end,
        pad_token=end,
        unk_token=end,
        model_max_length=int(text.get("context_length", 77)),
    )


def has_words(tokenizer: Any) -> bool:
    """Return whether a tokenizer has any token that is not special.

    Without its files, transformers makes a tokenizer that reads every word as end-of-text.
    """
    return not set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens)


def end_positions(rows: Sequence[Sequence[int]], eos_token_id: int) -> list[int]:
    """Return the position that CLIP pools in each row of token ids, as transformers does.

    This is the first position of ``eos_token_id``. Old configurations wrongly say 2; then it is the
    position of the largest id.

    Raises:
        BackboneError: a row lacks the id. transformers would silently pool its position 0 and give
            every class the same feature.
    """
    if eos_token_id == 2:
        return [row.index(max(row)) for row in rows]
    ends = []
    for number, row in enumerate(rows):
        if eos_token_id not in row:
            raise BackboneError(
                f"the token ids of prompt {number} lack the end-of-text id {eos_token_id} of the "
                "checkpoint's text_config, so all classes would have the same feature; the "
                "tokenizer does not belong to the model"
            )
        ends.append(row.index(eos_token_id))
    return ends
