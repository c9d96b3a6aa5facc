from pathlib import Path

import pytest

from study.data.datasets import DATASET_NAMES, load_dataset
from study.data.prompts import TEMPLATES
from tests import miniature
from tests.data.reading import refusal


def test_every_name_has_templates():
    assert set(DATASET_NAMES) == set(TEMPLATES)
    assert len(DATASET_NAMES) == 2 + 11 + 4 + 2  # packaged, published, shifted, more of one


def test_templates_can_be_replaced():
    assert load_dataset("digits", templates=("{} texture.",)).templates == ("{} texture.",)


def test_a_name_without_a_folder_is_named_or_the_nearest(tmp_path: Path):
    assert "did you mean 'eurosat'?" in refusal("eurosta")
    assert "'imagenet' needs a folder; without one: digits" in refusal("imagenet")
    told = refusal("dtd", tmp_path / "none")
    assert f"no such file or folder: {tmp_path}/none. Get it by the section of dtd in" in told


def test_a_mistyped_name_with_a_folder_that_is_no_dataset_names_the_nearest(tmp_path: Path):
    (miniature.make("imagenet", tmp_path) / "images" / "val").rename(tmp_path / "x")
    assert "did you mean 'imagenet'?" in refusal("imagnet", tmp_path)


@pytest.mark.parametrize("option", ["columns", "splits"])
@pytest.mark.parametrize("name", ["dtd", "digits"])
def test_an_option_that_a_format_does_not_read_is_refused(option: str, name: str, tmp_path: Path):
    told = refusal(name, tmp_path, **{option: {"train": "x"}})
    assert f"'{name}' does not read {option}" in told
