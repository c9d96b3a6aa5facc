"""The table of published datasets: class names as in prompts, sizes, and how to get each."""

from pathlib import Path

import pytest
import yaml

from study.data.readers.benchmarks import BENCHMARKS, LAYOUTS, SHIFTS, download_note
from study.data.readers.published import read_split_file

CASES = yaml.safe_load(Path(__file__).with_name("class_names.yaml").read_text())


@pytest.mark.parametrize("name, raw, clean", CASES["cleaned"])
def test_raw_class_names_are_cleaned_and_clean_ones_kept(name: str, raw: str, clean: str) -> None:
    assert LAYOUTS[name].clean(raw) == clean
    assert LAYOUTS[name].clean(clean) == clean


def test_a_name_of_cars_without_a_year_and_one_with_another_number_stay() -> None:
    clean = LAYOUTS["stanford_cars"].clean
    assert clean("Ferrari 458 Italia") == "Ferrari 458 Italia"
    assert clean("Peugeot 3008 1808") == "Peugeot 3008 1808"


def test_each_dataset_has_one_layout_or_a_reader_of_its_own() -> None:
    own = {name for name, benchmark in BENCHMARKS.items() if benchmark.layout is None}
    assert own == {"imagenet", "fgvc_aircraft"}
    layouts = [*LAYOUTS.values(), *SHIFTS.values()]
    assert len({layout.folder for layout in layouts}) == len(layouts), "two sets in one folder"


@pytest.mark.parametrize("name", ["eurosat", "oxford_pets"])
def test_the_table_has_the_sizes_of_the_published_split_files(name: str, coop_splits: Path) -> None:
    layout = LAYOUTS[name]
    names, splits = read_split_file(coop_splits / layout.split, layout)
    assert BENCHMARKS[name].counts == (len(names), *map(len, splits))


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_is_a_test_set_of_imagenets_classes_or_of_200_of_them(name: str) -> None:
    counts = BENCHMARKS[name].counts
    assert (counts.train, counts.val) == (0, 0)
    assert counts.classes == (200 if name in ("imagenet_a", "imagenet_r") else 1000)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_note_says_what_to_get_and_the_folder_where_it_belongs(name: str) -> None:
    note = download_note(name, Path("data") / "here")
    assert (BENCHMARKS[name].source or f"section of {name} in") in note
    assert BENCHMARKS[name].how_to_get in note
    is_mirrored = "zhengli97/prompt_learning_dataset" in note
    assert is_mirrored is not name.startswith("imagenet")
    assert note.endswith("It belongs in data/here")


def test_a_dataset_that_coop_does_not_describe_names_where_it_is_published() -> None:
    note = download_note("imagenetv2_top", Path("imagenetv2-top"))
    assert note.startswith("Get it by the README of ImageNetV2 (github.com/modestyachts")
    assert "CoOp" not in note
