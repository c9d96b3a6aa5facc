import json
import shutil
from pathlib import Path

import pytest

from study.data.datasets import load_dataset
from study.data.prompts import TEMPLATES
from study.data.readers.benchmarks import BENCHMARKS, LAYOUTS
from study.data.readers.published import read_split_file
from study.data.shots import draw_shots
from study.errors import DataError
from tests import miniature
from tests.data.reading import refusal, sizes

NAMES = [name for name, layout in LAYOUTS.items() if layout.split]
SHIFTS = [name for name, layout in LAYOUTS.items() if not (layout.split or layout.train)]


def test_no_two_datasets_lie_in_one_folder():
    assert len({layout.folder for layout in LAYOUTS.values()}) == len(LAYOUTS)


@pytest.mark.parametrize("name", ["eurosat", "oxford_pets"])
def test_the_table_has_the_sizes_of_the_published_split_files(name: str, coop_splits: Path):
    layout = LAYOUTS[name]
    names, splits = read_split_file(coop_splits, layout)
    assert BENCHMARKS[name].counts == (len(names), *map(len, splits))
    assert names[0] == {"eurosat": "Annual Crop Land", "oxford_pets": "abyssinian"}[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_reads_from_its_layout_or_its_own_folder(name: str, tmp_path: Path):
    folder = miniature.make(name, tmp_path, classes=4, counts=(3, 2, 1))
    dataset = load_dataset(name, tmp_path)
    assert dataset.templates == TEMPLATES[name]
    assert len(dataset.class_names) == 4
    assert sizes(dataset) == [12, 8, 4]
    for record in dataset.train + dataset.val + dataset.test:
        assert dataset.source.open_image(record.path).size == (30, 24)
    elsewhere = load_dataset(name, folder.rename(tmp_path / "renamed"))
    assert elsewhere.train == dataset.train


@pytest.mark.parametrize(
    "name, place, message",
    [
        ("dtd", "split_zhou_DescribableTextures.json", "split_zhou_DescribableTextures.json is mi"),
        ("dtd", "images", "image folder images is missing"),
        ("fgvc_aircraft", "images_variant_val.txt", "images_variant_val.txt is missing"),
        ("imagenet", "classnames.txt", "classnames.txt is missing; looked in"),
        ("imagenet", "images/val", "images/val: cannot be listed (No such file or directory)"),
        ("imagenet", "images/val/*", "images/val: has no class folders, one for each id of"),
        ("imagenet", "images/train/n01443537", "train and val differ in classes: 'n01443537'"),
    ],
)
def test_what_is_missing_is_named_with_the_folder_and_how_to_get_it(
    name: str, place: str, message: str, tmp_path: Path
):
    folder = miniature.make(name, tmp_path)
    for damaged in folder.glob(place):
        damaged.unlink() if damaged.is_file() else shutil.rmtree(damaged)
    refused = refusal(name, tmp_path)
    assert message in refused
    assert f"the section of {name} in CoOp's DATASETS.md" in refused
    assert refused.endswith(f"It belongs in {folder}")


@pytest.mark.parametrize("name", ["dtd", "fgvc_aircraft", "imagenet"])
def test_a_list_may_begin_with_a_byte_order_mark_and_end_lines_as_windows_does(
    name: str, tmp_path: Path
):
    folder = miniature.make(name, tmp_path)
    before = load_dataset(name, tmp_path)
    for file in (*folder.glob("*.txt"), *folder.glob("*.json")):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert load_dataset(name, tmp_path) == before


@pytest.mark.parametrize(
    "text, message",
    [("[" * 100_000, "not complete JSON"), ('{"train": [], "val": []}', "needs the lists")],
)
def test_an_unsound_split_file_is_refused(text: str, message: str, tmp_path: Path):
    file = tmp_path / LAYOUTS["dtd"].split
    file.write_text(text)
    with pytest.raises(DataError, match=f"{file}.*{message}"):
        read_split_file(file.parent, LAYOUTS["dtd"])


@pytest.mark.parametrize(
    "split, row, message",
    [
        ("train", ["a.jpg", 0], r"train\[12\].*expected \[path, label"),
        ("val", ["a.jpg", True, "x"], r"val\[8\]: label 'True' is not a whole number"),
        ("test", ["banded/banded_0001.jpg", 0, "banded"], "is in an earlier row"),
    ],
)
def test_an_unsound_row_of_a_split_file_is_refused(
    split: str, row: list[object], message: str, tmp_path: Path
):
    file = miniature.make("dtd", tmp_path) / LAYOUTS["dtd"].split
    content = json.loads(file.read_text())
    content[split].append(row)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"{file}.*{message}"):
        read_split_file(file.parent, LAYOUTS["dtd"])


TRAIN_LIST = "images_variant_train.txt"


@pytest.mark.parametrize(
    "name, listing, line, message",
    [
        ("fgvc_aircraft", TRAIN_LIST, "0000099 Concorde", "line 13: variant 'Concorde'"),
        ("fgvc_aircraft", TRAIN_LIST, "0000001 707-320", "line 13: .* in an earlier row"),
        ("imagenet", "classnames.txt", "n123", "has no class name"),
        ("imagenet", "classnames.txt", "n01440764 again", "repeats an id"),
    ],
)
def test_an_unsound_line_of_a_list_is_refused(
    name: str, listing: str, line: str, message: str, tmp_path: Path
):
    file = miniature.make(name, tmp_path) / listing
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(DataError, match=message):
        load_dataset(name, tmp_path)


def test_the_validation_images_are_the_test_split_and_images_may_lie_behind_a_link(tmp_path: Path):
    folder = miniature.make("imagenet", tmp_path / "data", classes=3, counts=(5, 0, 2))
    (folder / "images" / "train").rename(tmp_path / "elsewhere")
    (folder / "images" / "train").symlink_to(tmp_path / "elsewhere")
    dataset = load_dataset("imagenet", tmp_path / "data")
    assert dataset.class_names == ("tench", "goldfish", "great white shark")
    assert sizes(dataset) == [15, 0, 6]
    assert {record.path[:14] for record in dataset.test} == {"images/val/n01"}
    assert dataset.source.open_image(dataset.train[0].path).mode == "RGB"


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_is_a_test_split_alone(name: str, tmp_path: Path):
    counts = BENCHMARKS[name].counts
    assert (counts.classes in (200, 1000), counts.train, counts.val) == (True, 0, 0)
    folder = miniature.make(name, tmp_path, classes=12, counts=(0, 0, 2))
    dataset = load_dataset(name, tmp_path)
    lines = (folder / "classnames.txt").read_text().splitlines()
    name_of = dict(line.split(" ", 1) for line in lines)
    names = [*name_of.values()]
    # Numbered folders are not in alphabetical order.
    name_of |= {str(number): class_name for number, class_name in enumerate(names)}
    if name in ("imagenet_a", "imagenet_r"):
        names = names[1::2]
    assert [*dataset.class_names] == names
    assert sizes(dataset) == [0, 0, 2 * len(names)]
    for record in dataset.test:
        assert names[record.label] == name_of[record.path.split("/")[1]]
    with pytest.raises(DataError, match="test images only"):
        draw_shots(dataset, shots=1, seed=1)


def test_class_names_are_found_beside_imagenet(tmp_path: Path):
    listing = miniature.make("imagenet", tmp_path) / "classnames.txt"
    (miniature.make("imagenet_r", tmp_path) / "classnames.txt").unlink()
    assert load_dataset("imagenet_r", tmp_path).class_names == ("goldfish", "tiger shark")
    listing.write_text(listing.read_text().replace("goldfish", "tench"))
    assert load_dataset("imagenet", tmp_path).class_names[:2] == ("tench", "tench"), "as published"


def test_a_folder_without_a_class_name_is_named(tmp_path: Path):
    (miniature.make("imagenet_a", tmp_path) / "imagenet-a/n999").mkdir()
    assert "folders without a class name: 'n999'" in refusal("imagenet_a", tmp_path)
