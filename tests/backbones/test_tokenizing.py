"""Prompts become the token ids that a text encoder can read, or an error says why not."""

import logging
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from study.backbones.backbone import Backbone
from study.backbones.tokenizing import end_positions, has_words
from study.errors import BackboneError, DataError

MakeBackbone = Callable[..., Backbone]


def test_the_first_end_of_text_is_pooled_and_one_that_never_occurs_is_an_error(
    make_backbone: MakeBackbone,
):
    ids = [[7, 3, 9, 5, 9], [7, 5, 2, 9, 1]]
    assert end_positions(ids, 9) == [2, 3]
    assert end_positions(ids, 2) == [2, 3], "the largest id in legacy configurations"
    with pytest.raises(BackboneError, match=r"prompt 1 .* id 3 .*belong together"):
        end_positions(ids, 3)
    with pytest.raises(BackboneError, match="id 0 "):
        make_backbone(eos_token_id=0).tokenize(["a red cat"])


def test_ids_beyond_the_vocabulary_are_an_error(backbone: Backbone):
    backbone.clip.config.text_config.vocab_size = 11
    with pytest.raises(BackboneError, match=r"id 11.*0 to 10"):
        backbone.tokenize(["a red cat"])


def test_a_prompt_longer_than_the_context_is_named_once(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    library = logging.getLogger("transformers.tokenization_utils_base")
    monkeypatch.setattr(library, "handle", lambda record: pytest.fail(record.getMessage()))
    assert backbone.tokenize(["red " * 75]).shape == (1, 77)
    with pytest.raises(DataError, match=r"'dog red red .*78 tokens; tiny reads at most 77"):
        backbone.tokenize(["a photo of a cat", "dog " + "red " * 75])


def test_ids_are_cut_right_after_the_end_of_the_longest_prompt(backbone: Backbone):
    words = ["a", "red", "cat", "dog"]
    a, red, cat, dog = backbone.tokenizer.convert_tokens_to_ids(words)
    start, end = backbone.tokenizer.bos_token_id, backbone.tokenizer.eos_token_id
    pad = backbone.tokenizer.pad_token_id
    rows = [[start, a, red, cat, end], [start, dog, end, pad, pad]]
    assert backbone.tokenize(["a red cat", "dog"]).tolist() == rows
    assert backbone.tokenize(["dog"]).tolist() == [[start, dog, end]]


def test_a_tokenizer_of_special_tokens_alone_has_no_words(backbone: Backbone):
    assert has_words(backbone.tokenizer)
    special = ["<s>", "</s>"]
    empty = SimpleNamespace(get_vocab=lambda: {"<s>": 0}, all_special_tokens=special)
    assert not has_words(empty)
