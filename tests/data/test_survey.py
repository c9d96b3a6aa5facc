"""The files of a dataset are looked at without decoding any, and within a time."""

from collections import Counter
from pathlib import Path

import pytest

from study.data.datasets import Dataset, load_dataset
from study.data.ignored_files import Unread
from study.data.survey import Survey, empty_files, refuse_absent, survey
from study.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image folder of two classes; every file has contents of its own, and all one size."""
    for number, split in enumerate(("train", "test")):
        for label in ("cat", "dog"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for n in range(3):
                (folder / f"{n}.png").write_text(f"{number} {label} {n}")
    return tmp_path / "images"


def read(root: Path) -> Dataset:
    return load_dataset("mine", root)


def test_a_sound_dataset_has_nothing_to_tell(root: Path) -> None:
    found = survey(read(root))
    assert found == Survey(12, compared=True)


def test_the_same_file_in_two_classes_is_found(root: Path) -> None:
    (root / "train/cat/0.png").write_bytes((root / "train/dog/1.png").read_bytes())
    found = survey(read(root))
    assert found.in_two_classes == (("train/cat/0.png", "train/dog/1.png"),)
    assert found.in_two_splits == ()


def test_the_same_file_in_train_and_test_is_found(root: Path) -> None:
    (root / "train/cat/0.png").write_bytes((root / "test/cat/2.png").read_bytes())
    found = survey(read(root))
    assert [set(paths) for paths in found.in_two_splits] == [{"train/cat/0.png", "test/cat/2.png"}]
    assert found.in_two_classes == ()


def test_the_same_file_twice_in_one_class_of_a_split_is_left_alone(root: Path) -> None:
    (root / "train/cat/0.png").write_bytes((root / "train/cat/1.png").read_bytes())
    found = survey(read(root))
    assert found.in_two_classes == found.in_two_splits == ()


def test_only_files_of_equal_size_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n, path in enumerate(sorted(root.glob("*/*/*.png"))):
        path.write_text("x" * (n + 1))
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("a file was read"))
    assert survey(read(root)).looked == 12


def test_what_is_not_read_is_a_part_of_it(root: Path) -> None:
    (root / "train/cat/a.HEIC").touch()
    assert survey(read(root)).unread == Unread(Counter({".heic": 1}))
    assert survey(read(root), seconds=-1) == Survey(0, compared=True)


def test_empty_files_are_found_and_are_not_the_same_image(root: Path) -> None:
    empty = {"train/cat/0.png", "train/dog/0.png", "test/dog/1.png"}
    for name in empty:
        (root / name).write_bytes(b"")
    (root / "test/cat/1.png").unlink()
    (root / "test/cat/1.png").symlink_to("nowhere")
    dataset = read(root)
    assert set(empty_files(dataset, 5.0)) == empty
    assert empty_files(dataset, -1.0) == []
    found = survey(dataset)
    assert found.in_two_classes == found.in_two_splits == ()


def test_files_that_a_table_does_not_list_are_not_looked_at(root: Path) -> None:
    (root / "train/cat/a.heic").touch()
    rows = [f"{path.relative_to(root)},{path.parent.name}" for path in root.glob("*/*/*.png")]
    (root / "images.csv").write_text("\n".join(["path,class_name", *rows]))
    assert survey(read(root / "images.csv")) == Survey(12, compared=True)


def test_links_that_lead_out_or_nowhere_are_told_as_absent(root: Path, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "0.png").write_text("away")
    for path, target in (
        ("train/cat/0.png", tmp_path / "away" / "0.png"),
        ("train/cat/1.png", Path("no/where")),
        ("train/dog/0.png", Path("0.png")),  # to itself
        ("train/dog/1.png", Path("2.png")),
    ):
        (root / path).unlink()
        (root / path).symlink_to(target)
    absent = {"train/cat/0.png", "train/cat/1.png", "train/dog/0.png"}
    assert set(survey(read(root)).absent) == absent


def test_a_class_folder_that_links_out_is_told(root: Path, tmp_path: Path) -> None:
    (root / "test" / "dog").rename(tmp_path / "dogs")
    (root / "test" / "dog").symlink_to(tmp_path / "dogs")
    assert set(survey(read(root)).absent) == {f"test/dog/{n}.png" for n in range(3)}


def table(root: Path, *paths: str) -> Path:
    file = root / "images.csv"
    rows = (f"{path},{label},{split}" for path, label, split in map(str.split, paths))
    file.write_text("\n".join(("path,class_name,split", *rows)))
    return file


def test_entries_of_a_table_that_lead_to_no_file_are_counted(root: Path) -> None:
    file = table(
        root,
        *("train/cat/0.png cat train", "train/cat/9.png cat train", "train/cat cat train"),
        *("https://host/0.png dog train", "test/dog/0.png dog test"),
    )
    found = survey(read(file))
    assert set(found.absent) == {"train/cat/9.png", "https:/host/0.png"}
    refuse_absent(read(file), "fail")


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (["a.png cat train", "b.png dog train", "test/cat/0.png cat test"], "2 training images"),
        (["train/cat/0.png cat train", "http://x/b.png dog test"], "1 test images"),
    ],
)
def test_a_table_of_which_no_file_is_left_is_refused(
    root: Path, paths: list[str], told: str
) -> None:
    with pytest.raises(DataError, match=f"none of the {told}"):
        refuse_absent(read(table(root, *paths)), "skip")


def test_a_look_ends_in_time_and_says_how_far_it_came(root: Path) -> None:
    assert survey(read(root), seconds=-1).looked == 0


def test_a_look_that_is_cut_short_has_seen_test_images(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr("study.data.survey.time.monotonic", lambda: next(clock))
    for path in root.glob("*/*/*.png"):
        path.write_text("the same")
    found = survey(
        read(root), seconds=9.5 + 4 + 3
    )  # class folders and those of them are listed first
    assert (found.looked, found.compared) == (9, False)


def test_packaged_images_are_passed_over() -> None:
    digits = load_dataset("digits")
    total = len(digits.train) + len(digits.val) + len(digits.test)
    assert survey(digits, seconds=0) == Survey(total, compared=True)
    refuse_absent(digits, "fail")


def test_a_test_image_that_is_not_there_is_refused_unless_it_is_left_out(
    root: Path, tmp_path: Path
) -> None:
    (root / "train/cat/0.png").unlink()
    (root / "train/cat/0.png").symlink_to("nowhere")
    refuse_absent(read(root), "fail")
    (root / "test/dog/2.png").unlink()
    (root / "test/dog/2.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"^mine: not in .*: 1 of 6 test images, 'test/dog/2"):
        refuse_absent(read(root), "fail")
    refuse_absent(read(root), "skip")
    (root / "test/dog/2.png").unlink()
    (tmp_path / "away.png").touch()
    (root / "test/dog/2.png").symlink_to(tmp_path / "away.png")
    with pytest.raises(DataError, match="1 of 6 test images"):
        refuse_absent(read(root), "fail")
    refuse_absent(read(root), "skip")


def test_images_whose_pixels_are_known_are_compared_by_these(root: Path) -> None:
    dataset = read(root)
    records = (*dataset.train, *dataset.test)
    pixels = {record.path: record.path.encode() for record in records}
    pixels["train/cat/0.png"] = pixels["test/dog/1.png"] = b"the same"
    del pixels["test/dog/2.png"]  # it cannot be decoded
    (root / "train/cat/1.png").write_bytes((root / "train/dog/1.png").read_bytes())
    found = survey(dataset, pixels=pixels)
    assert [set(paths) for paths in found.in_two_classes] == [{"train/cat/0.png", "test/dog/1.png"}]
    assert [set(paths) for paths in found.in_two_splits] == [{"train/cat/0.png", "test/dog/1.png"}]


def test_images_in_tables_of_the_hub_are_compared_by_their_encoded_bytes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )

    def split(*images: tuple[bytes, int]) -> object:
        cells = [{"bytes": contents, "path": None} for contents, _ in images]
        labels = [label for _, label in images]
        return datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features)

    train = split((b"one", 0), (b"two", 1), (b"three", 0), (b"one", 1), (b"", 0))
    splits = {"train": train, "test": split((b"four", 0), (b"two", 1))}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    found = survey(load_dataset("mine", tmp_path / "saved"))
    assert found.in_two_classes == (("train/000000", "train/000003"),)
    assert [set(paths) for paths in found.in_two_splits] == [{"train/000001", "test/000001"}]
    assert found.absent == ("train/000004",)
    assert (found.looked, found.compared) == (7, True)
