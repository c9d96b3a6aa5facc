import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from study.data.datasets import load_dataset
from study.data.prompts import TEMPLATES
from study.data.readers.benchmarks import LAYOUTS, SHIFTS
from study.data.readers.published import absent_classes, read_split_file
from study.data.shots import draw_shots
from study.data.tasks import all_classes, confirm_task
from study.errors import DataError

NAMES = (*LAYOUTS, "fgvc_aircraft")
UNSOUND = yaml.safe_load(Path(__file__).with_name("unsound.yaml").read_text())
CASES = yaml.safe_load(Path(__file__).with_name("class_names.yaml").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_reads_from_its_layout(name: str, miniature: ModuleType, tmp_path: Path) -> None:
    miniature.make(name, tmp_path, classes=4, counts=(3, 2, 1))
    dataset = load_dataset(name, tmp_path)
    assert dataset.templates == TEMPLATES[name]
    assert [*dataset.class_names] == CASES["miniatures"][name]
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [12, 8, 4]
    for record in (*dataset.train, *dataset.val, *dataset.test):
        assert dataset.source.open_image(record.path).size == (30, 24)


@pytest.mark.parametrize("name", NAMES)
def test_the_root_may_be_the_datasets_own_folder(
    name: str, miniature: ModuleType, tmp_path: Path
) -> None:
    folder = miniature.make(name, tmp_path / "data")
    elsewhere = folder.rename(tmp_path / "renamed")
    assert load_dataset(name, elsewhere).train


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_list_names_the_file_the_folder_and_how_to_get_it(
    name: str, miniature: ModuleType, tmp_path: Path
) -> None:
    folder = miniature.make(name, tmp_path)
    lists = "images_variant_val.txt" if name == "fgvc_aircraft" else LAYOUTS[name].split
    (folder / lists).unlink()
    with pytest.raises(DataError) as caught:
        load_dataset(name, tmp_path)
    for part in (lists, str(folder), "DATASETS.md"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "stanford_cars"])
def test_a_missing_image_folder_is_named(name: str, miniature: ModuleType, tmp_path: Path) -> None:
    folder = miniature.make(name, tmp_path)
    images = "images" if name == "fgvc_aircraft" else LAYOUTS[name].images
    shutil.rmtree(folder / images)
    with pytest.raises(DataError, match=f"image folder {images} is missing"):
        load_dataset(name, tmp_path)


def test_the_classes_that_the_field_leaves_out_are_dropped(tmp_path: Path) -> None:
    raw = ["BACKGROUND_Google", "Faces", "Faces_easy", "airplanes"]
    rows = [[f"{name}/1.jpg", label, name] for label, name in enumerate(raw)]
    (tmp_path / "split.json").write_text(json.dumps({"train": rows, "val": [], "test": []}))
    names, train, _, _ = read_split_file(tmp_path / "split.json", LAYOUTS["caltech101"])
    assert names == ("face", "airplane")
    assert [(record.path, record.label) for record in train] == [
        ("101_ObjectCategories/Faces/1.jpg", 0),
        ("101_ObjectCategories/airplanes/1.jpg", 1),
    ]


def test_a_list_may_begin_with_a_byte_order_mark_and_end_lines_as_windows_does(
    miniature: ModuleType, tmp_path: Path
) -> None:
    for name in ("dtd", "fgvc_aircraft", "imagenet"):
        folder = miniature.make(name, tmp_path)
        before = load_dataset(name, tmp_path)
        for file in (*folder.glob("*.txt"), *folder.glob("*.json")):
            file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
        assert load_dataset(name, tmp_path) == before


@pytest.mark.parametrize(("text", "told"), [*UNSOUND["texts"], ("[" * 100_000, "not whole JSON")])
def test_an_unsound_split_file_is_refused(
    text: str, told: str, miniature: ModuleType, tmp_path: Path
) -> None:
    file = miniature.make("dtd", tmp_path) / LAYOUTS["dtd"].split
    file.write_text(text)
    with pytest.raises(DataError, match=f"{file}.*{told}"):
        load_dataset("dtd", tmp_path)


@pytest.mark.parametrize(("split", "row", "told"), UNSOUND["rows"])
def test_an_unsound_row_of_a_split_file_is_refused(
    split: str, row: list[object], told: str, miniature: ModuleType, tmp_path: Path
) -> None:
    file = miniature.make("dtd", tmp_path) / LAYOUTS["dtd"].split
    content = json.loads(file.read_text())
    content[split].append(row)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"{file}.*{told}"):
        load_dataset("dtd", tmp_path)


@pytest.mark.parametrize(("name", "listing", "line", "told"), UNSOUND["lines"])
def test_an_unsound_line_of_a_list_is_refused(
    name: str, listing: str, line: str, told: str, miniature: ModuleType, tmp_path: Path
) -> None:
    file = miniature.make(name, tmp_path) / listing
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(DataError, match=told):
        load_dataset(name, tmp_path)


def test_the_validation_images_are_the_test_split(miniature: ModuleType, tmp_path: Path) -> None:
    miniature.make("imagenet", tmp_path, classes=3, counts=(5, 0, 2))
    dataset = load_dataset("imagenet", tmp_path)
    assert dataset.class_names == ("tench", "goldfish", "great white shark")
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [15, 0, 6]
    assert all(record.path.startswith("images/val/n0") for record in dataset.test)
    shots = draw_shots(dataset, shots=3, val_shots=2, seed=1)
    assert all(record.path.startswith("images/train/") for record in (*shots.train, *shots.val))


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_is_a_test_split_alone(name: str, miniature: ModuleType, tmp_path: Path) -> None:
    miniature.make(name, tmp_path, classes=6, counts=(0, 0, 2))
    dataset = load_dataset(name, tmp_path)
    subset = name in ("imagenet_a", "imagenet_r")
    classes = (
        ("goldfish", "tiger shark", "electric ray") if subset else tuple(miniature.WNIDS.values())
    )
    assert dataset.class_names == classes
    assert [len(dataset.train), len(dataset.test)] == [0, 2 * len(classes)]
    assert {record.label for record in dataset.test} == set(range(len(classes)))
    wnids = list(miniature.WNIDS)
    for record in dataset.test:
        place = record.path.split("/")[1]
        wnid = wnids[int(place)] if place.isdecimal() else place
        assert dataset.class_names[record.label] == miniature.WNIDS[wnid]
    with pytest.raises(DataError, match="test set only"):
        draw_shots(dataset, shots=1, seed=1)
    assert confirm_task(dataset, None, all_classes(dataset)).evaluations[0].records == dataset.test


def test_numbered_folders_are_not_read_in_alphabetical_order(
    miniature: ModuleType, tmp_path: Path
) -> None:
    miniature.make("imagenetv2", tmp_path, classes=12, counts=(0, 0, 1))
    labels = {r.path.split("/")[1]: r.label for r in load_dataset("imagenetv2", tmp_path).test}
    assert labels == {str(label): label for label in range(12)}


def test_class_names_are_found_beside_imagenet(miniature: ModuleType, tmp_path: Path) -> None:
    miniature.make("imagenet", tmp_path)
    (miniature.make("imagenet_r", tmp_path) / "classnames.txt").unlink()
    assert load_dataset("imagenet_r", tmp_path).class_names == ("goldfish", "tiger shark")


def test_two_classes_may_have_one_name_as_in_the_fields_list(
    miniature: ModuleType, tmp_path: Path
) -> None:
    listing = miniature.make("imagenet", tmp_path, classes=3) / "classnames.txt"
    listing.write_text(listing.read_text().replace("goldfish", "tench"))
    assert load_dataset("imagenet", tmp_path).class_names[:2] == ("tench", "tench")


def test_images_may_lie_elsewhere_behind_a_link(miniature: ModuleType, tmp_path: Path) -> None:
    folder = miniature.make("imagenet", tmp_path / "data")
    (folder / "images" / "train").rename(tmp_path / "elsewhere")
    (folder / "images" / "train").symlink_to(tmp_path / "elsewhere")
    dataset = load_dataset("imagenet", tmp_path / "data")
    assert dataset.source.open_image(dataset.train[0].path).mode == "RGB"


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("classnames.txt", "classnames.txt is missing; looked in"),
        ("images/val", "image folder images/val is missing"),
        ("images/train/n01443537", "train and val differ in classes: 'n01443537'.*Get it by"),
    ],
)
def test_a_missing_piece_is_named(
    broken: str, told: str, miniature: ModuleType, tmp_path: Path
) -> None:
    place = miniature.make("imagenet", tmp_path) / broken
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(DataError, match=told):
        load_dataset("imagenet", tmp_path)


def test_a_folder_without_a_name_is_refused(miniature: ModuleType, tmp_path: Path) -> None:
    (miniature.make("imagenet_a", tmp_path) / "imagenet-a" / "n999").mkdir()
    with pytest.raises(DataError, match="folders without a class name: 'n999'"):
        load_dataset("imagenet_a", tmp_path)


def test_class_folders_that_were_not_unpacked_are_named(
    miniature: ModuleType, tmp_path: Path
) -> None:
    folder = miniature.make("imagenetv2", tmp_path, classes=4)
    assert absent_classes("imagenetv2", load_dataset("imagenetv2", tmp_path)) == []
    shutil.rmtree(folder / "imagenetv2-matched-frequency-format-val" / "2")
    dataset = load_dataset("imagenetv2", tmp_path)
    assert len(dataset.class_names) == 4
    absent = absent_classes("imagenetv2", dataset)
    assert absent == ["imagenetv2-matched-frequency-format-val/2"]


def test_classes_of_a_subset_that_were_not_unpacked_are_counted(
    miniature: ModuleType, tmp_path: Path
) -> None:
    folder = miniature.make("imagenet_a", tmp_path, classes=400, counts=(0, 0, 1))
    listing = folder / "classnames.txt"
    more = "".join(f"n8{number:07d} other {number}\n" for number in range(600))
    listing.write_text(listing.read_text() + more)
    assert absent_classes("imagenet_a", load_dataset("imagenet_a", tmp_path)) == []
    shutil.rmtree(sorted(folder.glob("imagenet-*/n*"))[-1])
    absent = absent_classes("imagenet_a", load_dataset("imagenet_a", tmp_path))
    assert absent == ["imagenet-a/n… (1 of 200)"]


def test_images_that_are_not_sorted_in_class_folders_are_told_where_they_belong(
    miniature: ModuleType, tmp_path: Path
) -> None:
    val = miniature.make("imagenet", tmp_path) / "images" / "val"
    for image in [*val.rglob("*.JPEG")]:
        image.rename(val / image.name)
        if not any(image.parent.iterdir()):
            image.parent.rmdir()
    with pytest.raises(DataError, match=r"has no class folders.*belong in images/train/<id>"):
        load_dataset("imagenet", tmp_path)


@pytest.fixture
def nobody() -> Iterator[None]:
    """Give up the rights of an administrator, who may read everything, for a while."""
    root = os.geteuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    yield
    if root:
        os.setresuid(0, 0, 0)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder below the system's own; pytest's is closed to others."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


@pytest.mark.parametrize(
    ("name", "locked", "expected"),
    [
        ("dtd", "split_zhou_DescribableTextures.json", "Textures.json: cannot be read"),
        ("imagenet_a", "imagenet-a/n01443537", "n01443537: may not be listed"),
        ("imagenet_a", "imagenet-a", "imagenet-a: may not be listed"),
    ],
)
def test_what_may_not_be_read_is_named(
    name: str,
    locked: str,
    expected: str,
    miniature: ModuleType,
    open_place: Path,
    request: pytest.FixtureRequest,
) -> None:
    place = miniature.make(name, open_place) / locked
    place.chmod(0)
    request.getfixturevalue("nobody")
    with pytest.raises(DataError, match=expected):
        load_dataset(name, open_place)
