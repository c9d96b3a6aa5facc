import shutil
from pathlib import Path
from types import ModuleType

import pytest

from study.data.datasets import load_dataset
from study.data.readers.benchmarks import SHIFTS
from study.data.readers.imagenet import absent_classes
from study.data.shots import draw_shots
from study.data.tasks import all_classes, confirm_task
from study.errors import DataError


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
    assert dataset.source.open(dataset.train[0].path).mode == "RGB"


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


@pytest.mark.parametrize(
    ("line", "told"),
    [("n123", "has no class name"), ("n01440764 again", "repeats an id"), ("n1 ", "no class name")],
)
def test_a_malformed_list_of_names_is_refused(
    line: str, told: str, miniature: ModuleType, tmp_path: Path
) -> None:
    listing = miniature.make("imagenet", tmp_path) / "classnames.txt"
    listing.write_text(listing.read_text() + line + "\n")
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
