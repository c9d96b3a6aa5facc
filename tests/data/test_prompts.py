import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.load_backbone import load_backbone
from study.data.datasets import PACKAGED, load_dataset
from study.data.prompts import (
    ENSEMBLE,
    TEMPLATES,
    prompts,
    refuse_control_characters,
    refuse_equal_prompts,
    refuse_equal_tokens,
    refuse_special_tokens,
    templates_of,
)
from study.errors import DataError
from tests.case_tables import from_table
from tests.siglips import make_gemma, make_sentencepiece, make_tokenizer

CASES = yaml.safe_load(Path(__file__).with_name("prompts.yaml").read_text())


@pytest.mark.parametrize("name, spoken", CASES["spoken"])
def test_each_dataset_has_the_template_of_the_reference(name: str, spoken: str):
    assert prompts(["russian_blue"], templates_of(name)) == [[spoken]]


def test_every_template_of_the_table_is_sound():
    for name in TEMPLATES:
        assert templates_of(name) == TEMPLATES[name]
    assert templates_of("x", ENSEMBLE) == ENSEMBLE


@from_table
def test_templates_without_exactly_one_place_for_the_name_are_refused(bad: list[str]):
    with pytest.raises(DataError, match=r"at least one is needed, and each has .* exactly once"):
        templates_of("digits", bad)


@pytest.mark.parametrize("name", ['o\'neil "the" cat', "{} {0} %s", "🦊", "x" * 500, "Straße"])
def test_any_class_name_survives_its_prompt(name: str):
    assert prompts([name], ["a {}.", "the {}!"]) == [[f"a {name}.", f"the {name}!"]]


@pytest.mark.parametrize("one, other", CASES["equal"])
def test_classes_that_clip_reads_as_the_same_text_are_refused(one: str, other: str):
    told = re.escape(f"same text: {one!r} and {other!r}; allowed")
    with pytest.raises(DataError, match=told):
        refuse_equal_prompts("mine", ["dog", one, "cow", other])


def test_no_more_than_a_few_groups_of_equal_classes_are_named():
    names = [name for n in range(9) for name in (f"class {n}", f"Class {n}")]
    with pytest.raises(DataError, match="'Class 4' and 4 more such groups"):
        refuse_equal_prompts("mine", names)


def test_classes_with_prompts_of_their_own_pass():
    refuse_equal_prompts("mine", ["cat", "cats", "c at", "m2", "m\u00b2", "cafe", "caf\u00e9"])
    for name in PACKAGED:
        refuse_equal_prompts(name, load_dataset(name).class_names)


@pytest.mark.parametrize("name, code", CASES["control"])
def test_a_class_name_with_a_control_character_is_refused(name: str, code: str):
    told = re.escape(f"not seen: {name!r} ({code}); rename")
    with pytest.raises(DataError, match=told) as caught:
        refuse_control_characters("mine", ["dog", name, "cow"])
    assert str(caught.value).isprintable()


def test_characters_that_join_others_are_text():
    refuse_control_characters(
        "mine", ["👨\u200d👩\u200d👧", "می\u200cخواهم", "a\u00a0b", 'c\'at "x"']
    )


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tokenizer of each family."""
    folder = tmp_path_factory.mktemp("tokenizers")
    return {
        "clip": load_backbone(backbone_path(EMBEDDED)).tokenizer,
        "words": make_tokenizer(),
        "siglip": make_sentencepiece(folder / "sentencepiece"),
        "siglip 2": make_gemma(),
    }


@pytest.mark.parametrize("family, name, token", CASES["marks"])
def test_a_class_name_that_a_tokenizer_reads_as_a_mark_is_refused(
    family: str, name: str, token: str, tokenizers: dict[str, Any]
):
    told = re.escape(f"that it reads: {name!r} ({token}); rename")
    with pytest.raises(DataError, match=told):
        refuse_special_tokens("mine", ["cat", name], tokenizers[family])


@pytest.mark.parametrize("family", ["clip", "words", "siglip", "siglip 2"])
def test_text_that_only_looks_like_a_mark_passes(family: str, tokenizers: dict[str, Any]):
    names = ["cat", "<b>cat</b>", "yahoo!", "{}", "end of text", "🧵"]
    if family != "clip":
        names += ["<|endoftext|>"]
    refuse_special_tokens("mine", names, tokenizers[family])


def test_a_mark_without_letters_is_text(tokenizers: dict[str, Any]):
    tokenizer = copy.deepcopy(tokenizers["clip"])
    tokenizer.pad_token = "!"
    refuse_special_tokens("mine", ["yahoo!", "cat"], tokenizer)


def test_classes_whose_characters_a_tokenizer_does_not_know_are_refused(
    tokenizers: dict[str, Any],
):
    with pytest.raises(DataError, match="not know their characters: '🧵' and '🧶'; rename"):
        refuse_equal_tokens("mine", ["cat", "🧵", "dog", "🧶"], tokenizers["words"])


def test_classes_that_a_tokenizer_tells_apart_pass(tokenizers: dict[str, Any]):
    refuse_equal_tokens("mine", ["cat", "🧵", "dog", "🧶"], tokenizers["clip"])
    refuse_equal_tokens("mine", ["cat", "Cat", "c_at", "c at"], tokenizers["clip"])
