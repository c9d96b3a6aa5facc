from pathlib import Path
from types import ModuleType

import pytest

from study.data.datasets import DATASET_NAMES, ReaderOptions, load_dataset
from study.data.prompts import TEMPLATES
from study.errors import DataError


def test_every_name_has_templates() -> None:
    assert set(DATASET_NAMES) == set(TEMPLATES)
    assert len(DATASET_NAMES) == 2 + 11 + 4 + 2  # packaged, published, shifted, more of one


@pytest.mark.parametrize("name", ["digits", "dtd"])
def test_templates_can_be_replaced(name: str, miniature: ModuleType, tmp_path: Path) -> None:
    miniature.make("dtd", tmp_path)
    dataset = load_dataset(name, tmp_path, templates=("{} texture.",))
    assert dataset.templates == ("{} texture.",)


def test_a_name_without_a_folder_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"did you mean 'eurosat'\?"):
        load_dataset("eurosta")


def test_a_root_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder: .*nothing"):
        load_dataset("dtd", tmp_path / "nothing")
    with pytest.raises(DataError, match="Get it by the section of dtd"):
        load_dataset("dtd", tmp_path / "nothing")


def test_a_known_name_without_a_folder_is_not_called_mistyped() -> None:
    with pytest.raises(DataError, match="'imagenet' needs a folder; without one: digits"):
        load_dataset("imagenet")


def test_a_mistyped_name_with_a_folder_that_is_no_dataset_names_the_nearest(
    miniature: ModuleType, tmp_path: Path
) -> None:
    (miniature.make("imagenet", tmp_path) / "images" / "val").rename(tmp_path / "x")
    with pytest.raises(DataError, match=r"did you mean 'imagenet'\?"):
        load_dataset("imagnet", tmp_path)


@pytest.mark.parametrize("option", ["columns", "splits"])
def test_an_option_that_a_format_does_not_read_is_refused(
    option: str, miniature: ModuleType, tmp_path: Path
) -> None:
    miniature.make("dtd", tmp_path)
    with pytest.raises(DataError, match=f"'dtd' does not read {option}"):
        load_dataset("dtd", tmp_path, options=ReaderOptions(**{option: {"train": "x"}}))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="does not read"):
        load_dataset("digits", options=ReaderOptions(**{option: {"train": "x"}}))  # type: ignore[arg-type]
