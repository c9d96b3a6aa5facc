import io
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from study.data.datasets import Dataset, ReaderOptions, load_dataset
from study.errors import DataError

datasets = pytest.importorskip("datasets")
NAMES = ("cat", "dog")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the library's files and progress bars out of the way."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def write(file: Path, draw: ModuleType, labels: Sequence[object], feature: object = None) -> Path:
    """Write a Parquet file with the images inside, as the hub has them."""
    pictures = []
    for number, _ in enumerate(labels):
        buffer = io.BytesIO()
        draw.draw(number % 2, number).save(buffer, format="PNG")
        pictures.append({"bytes": buffer.getvalue(), "path": None})
    kind = datasets.ClassLabel(names=list(NAMES)) if feature is None else feature
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    file.parent.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict(
        {"image": pictures, "label": list(labels)}, features=features
    )
    table.to_parquet(file)
    return file


def write_cells(file: Path, cells: list[Any], labels: list[str]) -> None:
    """Write a Parquet file with cells of images as they are given."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    table = datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features)
    file.parent.mkdir(parents=True, exist_ok=True)
    table.cast_column("image", datasets.Image(decode=False)).to_parquet(file)


def sizes(dataset: Dataset) -> list[int]:
    """Count the images of each split."""
    return [len(dataset.train), len(dataset.val), len(dataset.test)]


def test_a_parquet_file_with_images_is_a_dataset(miniature: ModuleType, tmp_path: Path) -> None:
    dataset = load_dataset("pets", write(tmp_path / "all.parquet", miniature, [0, 1] * 10))
    assert dataset.class_names == NAMES
    assert sizes(dataset) == [10, 4, 6]
    assert {record.path for record in dataset.train} <= {f"train/{i:06d}" for i in range(20)}
    image = dataset.source.open_image("train/000003")
    assert image.tobytes() == miniature.draw(1, 3).tobytes()


def test_a_folder_as_the_hub_lays_it_out_keeps_its_splits(
    miniature: ModuleType, tmp_path: Path
) -> None:
    for split, count in (("train", 6), ("validation", 4), ("test", 2)):
        write(tmp_path / "set/data" / f"{split}-00000-of-00001.parquet", miniature, [0, 1] * count)
    dataset = load_dataset("pets", tmp_path / "set")
    assert sizes(dataset) == [12, 8, 4]
    assert dataset.val[0].path == "val/000000"
    assert dataset.source.open_image("val/000000").size == (30, 24)


@pytest.mark.parametrize("layout", ["plain_text/{}-00000-of-00001", "{}/0000", "default/{}/0000"])
@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_every_layout_of_the_hub_is_known_and_without_a_test_split_validation_is_it(
    layout: str, held_out: str, miniature: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "set" / ".git").mkdir(parents=True)
    for split in ("train", held_out):
        write(tmp_path / "set" / f"{layout.format(split)}.parquet", miniature, [0, 1] * 3)
    assert sizes(load_dataset("pets", tmp_path / "set")) == [6, 0, 6]


def test_only_the_splits_in_use_are_fetched(miniature: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "set" / "data"
    for split in ("train", "test"):
        write(folder / f"{split}-00000-of-00001.parquet", miniature, [0, 1] * 3)
    (folder / "validation-00000-of-00001.parquet").write_bytes(b"never read")
    dataset = load_dataset(
        "pets", tmp_path / "set", options=ReaderOptions(splits={"train": "train", "test": "test"})
    )
    assert sizes(dataset) == [6, 0, 6]


def test_text_labels_are_class_names(miniature: ModuleType, tmp_path: Path) -> None:
    labels = ["zebra", "ant", "it's"] * 4
    file = write(tmp_path / "x.parquet", miniature, labels, datasets.Value("string"))
    dataset = load_dataset("animals", file)
    assert dataset.class_names == ("ant", "it's", "zebra")


def test_numbers_without_names_are_refused(miniature: ModuleType, tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", miniature, [0, 1], datasets.Value("int64"))
    with pytest.raises(DataError, match="numbers without class names"):
        load_dataset("animals", file)


def test_names_may_stand_beside_numbers(miniature: ModuleType, tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", miniature, [0, 1] * 3, datasets.Value("int64"))
    table = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "c"))
    table.add_column("class_name", ["zebra", "ant"] * 3).to_parquet(file)
    dataset = load_dataset("animals", file)
    assert dataset.class_names == ("ant", "zebra")
    assert {record.label for record in dataset.train if int(record.path[6:]) % 2} == {0}


@pytest.mark.parametrize("name", ["hf:", "hf:../x", "hf:/no/such", "hf:a/b/c", "hf:.hidden"])
def test_a_name_that_is_none_of_the_hub_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="allowed is hf:owner/name"):
        load_dataset(name)


def test_a_hidden_test_split_is_named(miniature: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "set" / "train.parquet", miniature, [0, 1])
    write(tmp_path / "set" / "test.parquet", miniature, [-1, -1])
    with pytest.raises(DataError, match="2 images of test have no label"):
        load_dataset("pets", tmp_path / "set")


def test_a_column_or_split_that_is_not_there_is_named(
    miniature: ModuleType, tmp_path: Path
) -> None:
    file = write(tmp_path / "x.parquet", miniature, [0, 1] * 3)
    with pytest.raises(DataError, match=r"no label column 'breed'.*'image', 'label'"):
        load_dataset("pets", file, options=ReaderOptions(columns={"label": "breed"}))
    with pytest.raises(DataError, match="splits 'dev' are not there"):
        load_dataset("pets", file, options=ReaderOptions(splits={"train": "dev"}))


def test_a_file_is_opened_wherever_the_library_keeps_files(
    miniature: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "EXTRACTED_DATASETS_PATH", str(tmp_path / "scratch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    folders = [tmp_path / "scratch", tmp_path / "cache", tmp_path / "hub"]
    files = [folder / "archive" / "1.png" for folder in folders]
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True)
        miniature.draw(number % 2, number).save(file)
    cells = [{"bytes": None, "path": str(file)} for file in files]
    for split in ("train", "test"):
        write_cells(tmp_path / "set" / f"{split}.parquet", cells, ["a", "b", "a"])
    source = load_dataset("pets", tmp_path / "set").source
    assert [source.open_image(f"train/00000{number}").mode for number in range(3)] == ["RGB"] * 3


def test_a_corrupt_image_is_named_when_it_is_opened(miniature: ModuleType, tmp_path: Path) -> None:
    cells = [{"bytes": b"broken", "path": None}, {"bytes": None, "path": "/etc/hostname"}, None]
    write_cells(tmp_path / "x.parquet", cells * 2, ["a", "a", "a", "b", "b", "b"])
    source = load_dataset("pets", tmp_path / "x.parquet").source
    with pytest.raises(DataError, match="train/000000: not a readable image"):
        source.open_image("train/000000")
    with pytest.raises(DataError, match="outside"):
        source.open_image("train/000001")
    with pytest.raises(DataError, match="train/000002: the image of pets is empty"):
        source.open_image("train/000002")
    with pytest.raises(DataError, match="train/000009: dataset pets has no such image"):
        source.open_image("train/000009")


def test_without_the_extra_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'clipfit-study\[hf\]'"):
        load_dataset("hf:owner/name")


def saved(draw: ModuleType, count: int) -> Any:
    """A dataset of the library with images in memory, of two classes in turn."""
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))}
    content = {
        "image": [draw.draw(n % 2, n) for n in range(count)],
        "label": [n % 2 for n in range(count)],
    }
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


def test_a_dataset_saved_to_disk_is_split_by_the_fixed_rule(
    miniature: ModuleType, tmp_path: Path
) -> None:
    saved(miniature, 20).save_to_disk(tmp_path / "saved")
    before = sorted(tmp_path.rglob("*"))
    dataset = load_dataset("mine", tmp_path / "saved")
    assert dataset.class_names == NAMES
    assert sum(sizes(dataset)) == 20
    assert min(sizes(dataset)) > 0
    assert dataset.source.open_image(dataset.train[0].path).mode == "RGB"
    assert sorted(tmp_path.rglob("*")) == before, "something was written beside it"


def test_splits_that_were_saved_to_disk_are_kept(miniature: ModuleType, tmp_path: Path) -> None:
    parts = {"train": saved(miniature, 8), "validation": saved(miniature, 4)}
    datasets.DatasetDict({**parts, "test": saved(miniature, 6)}).save_to_disk(tmp_path / "saved")
    assert sizes(load_dataset("mine", tmp_path / "saved")) == [8, 4, 6]
    named = load_dataset(
        "mine", tmp_path / "saved", options=ReaderOptions(splits={"train": "test", "test": "train"})
    )
    assert sizes(named) == [6, 0, 8]


def test_saved_splits_without_one_to_train_on_are_named(
    miniature: ModuleType, tmp_path: Path
) -> None:
    datasets.DatasetDict({"test": saved(miniature, 6)}).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="no training split; the dataset has 'test'"):
        load_dataset("mine", tmp_path / "saved")


def test_a_damaged_file_is_named(miniature: ModuleType, tmp_path: Path) -> None:
    saved(miniature, 6).save_to_disk(tmp_path / "saved")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.parquet").touch()
    for file in (*tmp_path.glob("saved/*.arrow"), tmp_path / "set" / "train.parquet"):
        file.write_bytes(b"PAR1 nothing PAR1")
        with pytest.raises(DataError, match="cannot be read from"):
            load_dataset("mine", file.parent)


@pytest.mark.parametrize("form", ["relative", "absolute", "home"])
def test_a_folder_given_as_a_name_of_the_hub_is_told_its_place(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my" / "images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    place = {"relative": "my/images", "absolute": f"{tmp_path}/my/images", "home": "~/my/images"}
    with pytest.raises(DataError, match=f"use data.root={place[form]} with any name"):
        load_dataset(f"hf:{place[form]}")


def test_without_a_network_one_message_says_how_to_bring_a_dataset_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9 does not answer \(.*refused\)") as told:
        load_dataset("hf:owner/pets")
    assert "`hf download owner/pets --repo-type dataset --local-dir DIR`" in str(told.value)
    assert "data.root=DIR" in str(told.value)


def test_no_bar_is_drawn_where_nobody_watches(
    miniature: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "all.parquet", miniature, [0, 1] * 10)
    datasets.enable_progress_bars()
    load_dataset("pets", file)
    assert capfd.readouterr().err == ""


def test_images_beside_a_link_to_a_folder_with_parquet_are_no_dataset_of_the_hub(
    miniature: ModuleType, tmp_path: Path
) -> None:
    write(tmp_path / "all.parquet", miniature, [0, 1] * 10)
    for label, name in enumerate(NAMES):
        for number in range(4):
            miniature.save(tmp_path / "pets" / name / f"{number}.png", label, number)
    (tmp_path / "pets" / "cat" / "up").symlink_to(tmp_path)
    dataset = load_dataset("pets", tmp_path / "pets")
    assert {record.path.partition("/")[0] for record in dataset.train} == set(NAMES)
