import pytest

from study.data.prompts import ENSEMBLE, TEMPLATES, prompts, templates_of
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
