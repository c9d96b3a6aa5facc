"""How images are read, as one value: from a configuration, and in the files of a model."""

from dataclasses import fields

import pytest

from study.backbones.framing import SIGLIP_FRAMING
from study.config.schema import DataConfig
from study.data.images.image_reading import (
    DEFAULT_READING,
    MODEL_FACTS,
    ImageReading,
    check_model_facts,
    reading_of_config,
)


def test_a_study_sets_every_field_but_the_framing():
    reading = reading_of_config(vars(DataConfig(pixel_range=(0, 9), on_corrupt="skip")))
    assert reading == ImageReading((0, 9), "skip")
    assert reading_of_config(vars(DataConfig())) == DEFAULT_READING
    names = {own.name for own in fields(ImageReading)}
    assert names - DataConfig.model_fields.keys() == {"framing"}


def test_the_files_of_a_model_hold_what_changes_pixels():
    reading = ImageReading((0, 9), on_corrupt="skip", framing=SIGLIP_FRAMING)
    assert reading.model_facts() == {"pixel_range": [0, 9]}
    assert check_model_facts(reading.model_facts()) == {"pixel_range": (0, 9)}
    assert DEFAULT_READING.model_facts() == {"pixel_range": None}, "there, though it says nothing"
    assert check_model_facts(DEFAULT_READING.model_facts()) == {}
    assert {*MODEL_FACTS} == {"pixel_range"}


def test_decoded_images_of_other_ranges_are_told_apart():
    stamps = [reading.identity for reading in (DEFAULT_READING, ImageReading((0, 9)))]
    assert stamps == ["None", "(0, 9)"], "files of former versions are found by these"


@pytest.mark.parametrize("name", ["on_corrupt", "framing", "gamma"])
def test_what_is_no_fact_of_a_model_is_refused(name: str):
    with pytest.raises(TypeError, match=f"{name} says nothing"):
        check_model_facts({"pixel_range": None, name: None})
