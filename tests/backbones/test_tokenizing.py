"""Prompts become the token ids that a text encoder can read, or an error says why not."""

import logging

import pytest

from study.backbones.backbone import Backbone
from study.backbones.tokenizing import end_positions
from study.errors import BackboneError, DataError
from tests.small_clips import set_end_of_text


def test_the_first_end_of_text_is_pooled_and_one_that_never_occurs_is_an_error(backbone: Backbone):
    ids = [[7, 3, 9, 5, 9], [7, 5, 2, 9, 1]]
    assert end_positions(ids, 9) == [2, 3]
    assert end_positions(ids, 2) == [2, 3], "the largest id in legacy configurations"
    with pytest.raises(BackboneError, match=r"prompt 1 .* id 3 .*does not belong"):
        end_positions(ids, 3)
    set_end_of_text(backbone, 1)
    with pytest.raises(BackboneError, match="id 1 "):
        backbone.tokenize(["a red cat"])


def test_ids_are_cut_after_the_end_of_the_longest_prompt_and_must_be_known(backbone: Backbone):
    tokenizer = backbone.tokenizer
    start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    a, red, d = tokenizer.convert_tokens_to_ids(["a</w>", "r", "d</w>"])
    rows = [[start, a, end, pad], [start, red, d, end]]
    assert backbone.tokenize(["a", "rd"]).tolist() == rows
    backbone.clip.config.text_config.vocab_size = end
    with pytest.raises(BackboneError, match=rf"id {end}.*0 to {end - 1}"):
        backbone.tokenize(["a"])


def test_a_prompt_longer_than_the_context_is_named_once(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    library = logging.getLogger("transformers.tokenization_utils_base")
    monkeypatch.setattr(library, "handle", lambda record: pytest.fail(record.getMessage()))
    assert backbone.tokenize(["a " * 75]).shape == (1, 77)
    with pytest.raises(DataError, match=r"'b a a .*78 tokens; .* allows at most 77"):
        backbone.tokenize(["a photo of a cat", "b " + "a " * 75])
