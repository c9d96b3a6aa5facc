"""How images are read, as one value: from a configuration, and in the files of a model."""

from dataclasses import fields

import numpy as np
import pytest

from study.backbones.framing import AS_SIGLIP
from study.config.schema import DataConfig
from study.data.images.image_reading import (
    AS_USUAL,
    KEPT,
    ImageReading,
    checked_keys,
    checked_range,
    configured,
)
from study.errors import DataError


def test_a_study_sets_every_field_but_the_framing() -> None:
    reading = configured(vars(DataConfig(pixel_range=(0, 9), on_corrupt="skip")))
    assert reading == ImageReading((0, 9), "skip")
    assert configured(vars(DataConfig())) == AS_USUAL
    names = {own.name for own in fields(ImageReading)}
    assert names - DataConfig.model_fields.keys() == {"framing"}


def test_the_files_of_a_model_hold_what_changes_pixels() -> None:
    reading = ImageReading((0, 9), on_corrupt="skip", framing=AS_SIGLIP)
    assert reading.kept() == {"pixel_range": [0, 9]}
    assert AS_USUAL.kept() == {"pixel_range": None}, "it is there even where it says nothing"
    assert checked_keys(reading.kept()) == reading.changed() == {"pixel_range": (0, 9)}
    assert checked_keys(AS_USUAL.kept()) == AS_USUAL.changed() == {}
    assert {*KEPT} == {"pixel_range"}


def test_decoded_images_of_other_ranges_are_told_apart() -> None:
    stamps = [reading.stamp for reading in (AS_USUAL, ImageReading((0, 9)))]
    assert stamps == ["None", "(0, 9)"], "files of former versions are found by these"


def test_what_is_no_fact_of_a_model_is_refused() -> None:
    for name in ("on_corrupt", "framing", "gamma"):
        with pytest.raises(TypeError, match=f"{name} says nothing"):
            checked_keys({"pixel_range": None, name: None})


@pytest.mark.parametrize("bounds", [(), (1,), (1, 1), (2, 1), (0, np.inf), (np.nan, 1), (1, 2, 3)])
def test_a_range_is_two_finite_numbers(bounds: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="two finite numbers"):
        checked_range(bounds)
    with pytest.raises(DataError, match="two finite numbers"):
        checked_keys({"pixel_range": bounds})
    assert checked_range([-1, 2.5]) == (-1, 2.5)
