import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from study.data.datasets import DATASET_NAMES, load_dataset
from study.data.prompts import TEMPLATES
from tests.data.reading import refusal, write_images


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


@pytest.mark.parametrize("option", ["columns", "splits"])
@pytest.mark.parametrize("name", ["dtd", "digits"])
def test_an_option_that_a_format_does_not_read_is_refused(option: str, name: str, tmp_path: Path):
    told = refusal(name, tmp_path, **{option: {"train": "x"}})
    assert f"'{name}' does not read {option}" in told


def test_the_name_of_a_folder_of_parquet_means_no_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    for name in ("lib", "csv"):
        Path(name).mkdir()
        write_images(Path(name, "all.parquet"), [*"xyxyxyxyxy"])
        for script in (f"{name}.py", f"{name}/{name}.py"):
            Path(script).touch()
        assert load_dataset("mine", Path(name)).class_names == ("x", "y")


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often folders are listed, each of which takes half a millisecond."""
    count = Counter[str]()
    scandir = os.scandir

    def slow(place: Any = ".") -> Any:
        count[str(place)] += 1
        time.sleep(0.0005)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", slow)
    return count


def test_parquet_is_not_looked_for_in_all_folders_below(tmp_path: Path, listed: Counter[str]):
    pytest.importorskip("datasets")
    write_images(tmp_path / "all.parquet", ["a"])
    for number in range(100):
        (tmp_path / f"a/b/c/{number}").mkdir(parents=True)
    assert "class" in refusal("mine", tmp_path)
    assert listed.total() < 20
