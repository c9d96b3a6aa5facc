import re
from typing import Any

import pytest

from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.load_backbone import load_backbone
from study.data.datasets import DATASET_NAMES, PACKAGED, load_dataset
from study.data.prompts import (
    ENSEMBLE,
    TEMPLATES,
    prompts,
    refuse_unreadable_names,
    templates_of,
)
from study.errors import DataError
from tests.siglips import make_gemma, make_sentencepiece, make_tokenizer


@pytest.mark.parametrize(
    "name, spoken",
    [
        ("oxford_pets", "a photo of a russian blue, a type of pet."),
        ("dtd", "a photo of a russian blue, a type of texture."),
        ("eurosat", "a centered satellite photo of russian blue."),
        ("digits", "a photo of the russian blue."),
        ("my_own", "a photo of a russian blue."),
    ],
)
def test_each_dataset_has_the_template_of_the_reference(name: str, spoken: str):
    assert prompts(["russian_blue"], templates_of(name)) == [[spoken]]


def test_every_template_has_one_place_for_the_name_and_others_are_refused():
    assert set(DATASET_NAMES) == set(TEMPLATES)
    for name in TEMPLATES:
        assert templates_of(name) == TEMPLATES[name]
    assert templates_of("x", ENSEMBLE) == ENSEMBLE
    for bad in (["a photo."], ["{} and {}"], []):
        with pytest.raises(DataError, match=r"at least one is needed, and each has .* exactly"):
            templates_of("digits", bad)


def test_any_class_name_survives_its_prompt():
    for name in ('o\'neil "the" cat', "{} {0} %s", "🦊"):
        assert prompts([name], ["a {}.", "the {}!"]) == [[f"a {name}.", f"the {name}!"]]


def test_classes_with_texts_of_their_own_pass(tokenizers: dict[str, Any]):
    names = ["cat", "cats", "c at", "cafe", "caf\u00e9", "🧵", "🧶", "<b>cat</b>", "{}"]
    names += ["👨\u200d👩\u200d👧", "می\u200cخواهم", "a\u00a0b", 'c\'at "x"', "end of text"]
    refuse_unreadable_names("mine", names, tokenizers["clip"])
    for family in ("words", "siglip", "siglip 2"):
        refuse_unreadable_names("mine", ["cat", "<|endoftext|>"], tokenizers[family])
    for name in PACKAGED:
        refuse_unreadable_names(name, load_dataset(name).class_names, tokenizers["clip"])


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


@pytest.mark.parametrize(
    "family, one, other",
    [
        ("words", "🧵", "🧶"),
        ("clip", "Cat", "cat"),
        ("clip", "big_cat", "Big\u00a0cat"),
        ("clip", "caf\u00e9", "cafe\u0301"),
    ],
)
def test_classes_that_a_tokenizer_reads_as_the_same_text_are_refused(
    family: str, one: str, other: str, tokenizers: dict[str, Any]
):
    message = re.escape(f"same text: {one!r} and {other!r}; rename")
    names = ["dog", one, other]
    with pytest.raises(DataError, match=message):
        refuse_unreadable_names("mine", names, tokenizers[family])
    if one.isprintable():
        refuse_unreadable_names("mine", names, tokenizers[family], repeated=True)


@pytest.mark.parametrize(
    "family, name, token",
    [
        ("clip", "<|endoftext|>", "<|endoftext|>"),
        ("clip", "a <|startoftext|> cat", "<|startoftext|>"),
        ("words", "<eos>", "<eos>"),
        ("words", "<unk>", "<unk>"),
        ("siglip", "</s>", "</s>"),
        ("siglip 2", "cat<eos>", "<eos>"),
        ("siglip 2", "<bos>", "<bos>"),
        *(
            ("clip", f"big{mark}cat", f"U+{ord(mark):04X}")
            for mark in "\n\t\u001b\u007f\u2028\u200b\ufeff\u202e"
        ),
    ],
)
def test_a_class_name_with_a_special_token_or_a_control_character_is_refused(
    family: str, name: str, token: str, tokenizers: dict[str, Any]
):
    with pytest.raises(DataError, match=re.escape(f": {name!r} ({token}); rename")) as caught:
        refuse_unreadable_names("mine", ["dog", name, "cat"], tokenizers[family])
    assert "".join(str(caught.value).splitlines()).isprintable()
