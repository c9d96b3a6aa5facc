import pytest

from study.data.datasets import PACKAGED, load_dataset
from study.data.prompts import (
    ENSEMBLE,
    TEMPLATES,
    prompts,
    refuse_equal_prompts,
    templates_of,
)
from study.errors import DataError


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("oxford_pets", "a photo of a russian blue, a type of pet."),
        ("oxford_flowers", "a photo of a russian blue, a type of flower."),
        ("fgvc_aircraft", "a photo of a russian blue, a type of aircraft."),
        ("dtd", "a photo of a russian blue, a type of texture."),
        ("eurosat", "a centered satellite photo of russian blue."),
        ("food101", "a photo of russian blue, a type of food."),
        ("ucf101", "a photo of a person doing russian blue."),
        ("sun397", "a photo of a russian blue."),
        ("digits", "a photo of the russian blue."),
        ("my_own", "a photo of a russian blue."),
    ],
)
def test_each_dataset_has_the_template_of_the_reference(name: str, spoken: str) -> None:
    assert prompts(["russian_blue"], templates_of(name)) == [[spoken]]


def test_every_template_of_the_table_is_sound() -> None:
    for name in TEMPLATES:
        assert templates_of(name) == TEMPLATES[name]
    assert templates_of("x", ENSEMBLE) == ENSEMBLE


def test_templates_can_be_replaced() -> None:
    assert templates_of("dtd", ["{} texture."]) == ("{} texture.",)


@pytest.mark.parametrize("bad", ["a photo.", "{} and {}", ""])
def test_a_template_without_exactly_one_place_for_the_name_is_refused(bad: str) -> None:
    with pytest.raises(DataError, match="exactly once"):
        templates_of("digits", [bad])


def test_no_template_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="at least one"):
        templates_of("digits", [])


@pytest.mark.parametrize("name", ['o\'neil "the" cat', "{} {0} %s", "🦊", "x" * 500, "Straße"])
def test_any_class_name_survives_its_prompt(name: str) -> None:
    assert prompts([name], ["a {}.", "the {}!"]) == [[f"a {name}.", f"the {name}!"]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cat", "cat"),
        ("CAT", "cAt"),
        ("big  cat", "big cat"),
        (" cat", "cat"),
        ("cat\t", "cat"),
        ("big_cat", "Big\u00a0cat"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_classes_that_clip_reads_as_the_same_text_are_refused(one: str, other: str) -> None:
    with pytest.raises(DataError, match="same text") as caught:
        refuse_equal_prompts("mine", ["dog", one, "cow", other])
    assert f"{one!r} and {other!r}" in str(caught.value)
    assert "cow" not in str(caught.value)


def test_no_more_than_a_few_groups_of_equal_classes_are_named() -> None:
    names = [name for n in range(9) for name in (f"class {n}", f"Class {n}")]
    with pytest.raises(DataError, match="and 4 more such groups") as caught:
        refuse_equal_prompts("mine", names)
    assert "class 5" not in str(caught.value)


def test_classes_with_prompts_of_their_own_pass() -> None:
    refuse_equal_prompts("mine", ["cat", "cats", "c at", "m2", "m\u00b2", "cafe", "caf\u00e9"])
    for name in PACKAGED:
        refuse_equal_prompts(name, load_dataset(name).class_names)
