from pathlib import Path

import pytest

from study.data.datasets import DATASET_NAMES, ReaderOptions, load_dataset
from study.data.prompts import TEMPLATES
from study.errors import DataError
from tests import miniature


def test_every_name_has_templates() -> None:
    assert set(DATASET_NAMES) == set(TEMPLATES)
    assert len(DATASET_NAMES) == 2 + 11 + 4 + 2  # packaged, published, shifted, more of one


def test_templates_can_be_replaced() -> None:
    assert load_dataset("digits", templates=("{} texture.",)).templates == ("{} texture.",)


def test_a_name_without_a_folder_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"did you mean 'eurosat'\?"):
        load_dataset("eurosta")


def test_a_root_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder: .*none\. Get it by .* of dtd"):
        load_dataset("dtd", tmp_path / "none")


def test_a_known_name_without_a_folder_is_not_called_mistyped() -> None:
    with pytest.raises(DataError, match="'imagenet' needs a folder; without one: digits"):
        load_dataset("imagenet")


def test_a_mistyped_name_with_a_folder_that_is_no_dataset_names_the_nearest(tmp_path: Path) -> None:
    (miniature.make("imagenet", tmp_path) / "images" / "val").rename(tmp_path / "x")
    with pytest.raises(DataError, match=r"did you mean 'imagenet'\?"):
        load_dataset("imagnet", tmp_path)


@pytest.mark.parametrize("options", [ReaderOptions({"path": "x"}), ReaderOptions(splits={})])
@pytest.mark.parametrize("name", ["dtd", "digits"])
def test_an_option_that_a_format_does_not_read_is_refused(
    options: ReaderOptions, name: str, tmp_path: Path
) -> None:
    (option,) = options.chosen()
    with pytest.raises(DataError, match=f"'{name}' does not read {option}"):
        load_dataset(name, tmp_path, options=options)
