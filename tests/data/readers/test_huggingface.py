import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study import Dataset
from study.data.data_internals import table_fingerprint
from study.data.datasets import load_dataset
from study.errors import DataError
from tests import miniature
from tests.data.reading import refusal, sizes

datasets = pytest.importorskip("datasets")
NAMES = ("cat", "dog")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Keep the library's files and progress bars out of the way."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def write(file: Path, labels: Sequence[object], feature: object = None) -> Path:
    """Write a Parquet file with the images inside, as the hub has them."""
    saved(labels, feature).to_parquet(file)
    return file


def saved(labels: Sequence[object], feature: object = None) -> Any:
    """A dataset of the library with images in memory, of two classes in turn."""
    kind = feature or datasets.ClassLabel(names=list(NAMES))
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    images = [miniature.draw(number % 2, number) for number in range(len(labels))]
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)


def write_cells(file: Path, cells: Any, labels: list[Any], **columns: list[Any]):
    """Write a Parquet file with cells of images as they are given."""
    pq.write_table(pa.table({"image": cells, "label": labels, **columns}), file)


def test_a_parquet_file_with_images_is_a_dataset(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    file = write(tmp_path / "all.parquet", [0, 1] * 10)
    datasets.enable_progress_bars()
    dataset = load_dataset("pets", file)
    assert capfd.readouterr().err == "", "no bar is drawn where nobody watches"
    assert dataset.class_names == NAMES
    assert sizes(dataset) == [10, 4, 6]
    assert {record.path for record in dataset.train} <= {f"train/{i:06d}" for i in range(20)}
    image = dataset.source.open_image("train/000003")
    assert image.tobytes() == miniature.draw(1, 3).tobytes()


def test_a_folder_as_the_hub_lays_it_out_keeps_its_splits(tmp_path: Path):
    tmp_path = tmp_path / "[x]"  # which is no pattern
    for split, count in (("train", 6), ("validation", 4), ("test", 2)):
        write(tmp_path / f"data/{split}-00000-of-00001.parquet", [0, 1] * count)
    dataset = load_dataset("pets", tmp_path)
    assert sizes(dataset) == [12, 8, 4]
    assert dataset.val[0].path == "val/000000"
    assert dataset.source.open_image("val/000000").size == (30, 24)
    (tmp_path / "data/validation-00000-of-00001.parquet").write_bytes(b"never read")
    options: Any = {"splits": {"train": "train", "test": "test"}}
    assert sizes(load_dataset("pets", tmp_path, **options)) == [12, 0, 4]


@pytest.mark.parametrize("layout", ["plain_text/{}-00000-of-00001", "default/{}/0000"])
def test_every_layout_of_the_hub_is_known_and_without_a_test_split_validation_is_it(
    layout: str, tmp_path: Path
):
    (tmp_path / ".git").mkdir()
    for split in ("train", "validation"):
        write(tmp_path / f"{layout.format(split)}.parquet", [0, 1] * 3)
    assert sizes(load_dataset("pets", tmp_path)) == [6, 0, 6]


def test_text_labels_are_class_names_and_numbers_alone_are_refused(tmp_path: Path):
    numbers = saved([0, 1] * 3, datasets.Value("int64"))
    table = numbers.add_column("text", ["zebra", "it's"] * 3)
    table.to_parquet(tmp_path / "x.parquet")
    assert "label '0' is a number" in refusal("animals", tmp_path / "x.parquet")
    dataset = load_dataset("animals", tmp_path / "x.parquet", columns={"label": "text"})
    assert dataset.class_names == ("it's", "zebra")
    assert {record.label for record in dataset.train if int(record.path[6:]) % 2} == {0}


def test_what_is_not_there_or_is_something_else_is_named(tmp_path: Path):
    file = write(tmp_path / "x.parquet", [0, 1] * 3)
    message = refusal("pets", file, columns={"label": "breed"})
    assert "columns 'breed' don't exist; columns are image, label, group" in message
    unlabelled = (
        saved([0, 1] * 3)
        .rename_column("label", "breed")
        .cast_column("breed", datasets.Value("string"))
    )
    unlabelled.to_parquet(tmp_path / "y.parquet")
    message = refusal("pets", tmp_path / "y.parquet")
    assert "no label column; name it in columns.label" in message
    assert "splits 'dev' don't exist" in refusal("pets", file, splits={"train": "dev"})
    write_cells(tmp_path / "y.parquet", [*range(4)], [*"aabb"], photo=[{"bytes": b"x"}] * 4)
    assert "column 'image' holds no images" in refusal("pets", tmp_path / "y.parquet")
    for label in ([0], {"id": 0}):
        write_cells(tmp_path / "y.parquet", [{"bytes": b"x"}] * 4, [label] * 4)
        assert "column 'label' holds " in refusal("pets", tmp_path / "y.parquet")
    (tmp_path / "hidden").mkdir()
    write(tmp_path / "hidden" / "train.parquet", [0, 1])
    write(tmp_path / "hidden" / "test.parquet", [-1, -1])
    assert "test/000000: label '-1' is not" in refusal("pets", tmp_path / "hidden")


def test_a_file_is_opened_wherever_the_library_keeps_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(datasets.config, "EXTRACTED_DATASETS_PATH", str(tmp_path / "scratch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    files = [tmp_path / folder / "archive/1.png" for folder in ("scratch", "cache", "hub")]
    for file in files:
        miniature.save(file, 0, 0)
    write_cells(tmp_path / "x.parquet", [{"path": str(file)} for file in files * 2], [*"aaabbb"])
    source = load_dataset("pets", tmp_path / "x.parquet").source
    for number in range(3):
        assert source.open_image(f"train/00000{number}").size == (30, 24)


def test_a_corrupt_image_is_named_when_it_is_opened(tmp_path: Path):
    cells = [{"bytes": b"broken", "path": None}, {"bytes": None, "path": "/etc/hostname"}, None]
    write_cells(tmp_path / "x.parquet", cells * 2, [*"aaabbb"])
    source = load_dataset("pets", tmp_path / "x.parquet").source
    for number, message in (
        (0, "not a readable image"),
        (1, "outside"),
        (2, "the image of pets is empty"),
    ):
        with pytest.raises(DataError, match=f"train/00000{number}.*{message}"):
            source.open_image(f"train/00000{number}")


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'clipfit-study[hf]'" in refusal("hf:owner/name")


def test_splits_that_were_saved_to_disk_are_kept(tmp_path: Path):
    counts = {"train": 4, "validation": 2, "test": 3}
    parts = {split: saved([0, 1] * count) for split, count in counts.items()}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    before = sorted(tmp_path.rglob("*"))
    assert sizes(load_dataset("mine", tmp_path / "saved")) == [8, 4, 6]
    assert sorted(tmp_path.rglob("*")) == before, "something was written beside it"
    parts["train"].save_to_disk(tmp_path / "alone")
    assert sizes(load_dataset("mine", tmp_path / "alone")) == [4, 2, 2]
    options: Any = {"splits": {"train": "test", "test": "train"}}
    assert sizes(load_dataset("mine", tmp_path / "saved", **options)) == [6, 0, 8]
    datasets.DatasetDict({"test": parts["test"]}).save_to_disk(tmp_path / "test")
    assert "no training split; the dataset has 'test'" in refusal("mine", tmp_path / "test")
    parts["test"] = parts["test"].remove_columns("label")
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "unlabelled")
    assert "a split lacks one of the columns" in refusal("mine", tmp_path / "unlabelled")


def test_a_damaged_file_is_named(tmp_path: Path):
    saved([0, 1] * 3).save_to_disk(tmp_path / "saved")
    (tmp_path / "set").mkdir()
    for file in (*tmp_path.glob("saved/*.arrow"), tmp_path / "set" / "train.parquet"):
        file.write_bytes(b"PAR1 nothing PAR1")
        assert "cannot be read from" in refusal("mine", file.parent)


def test_a_name_that_is_none_of_the_hub_and_a_folder_here_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "my" / "images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "is read by data.root=my/images" in refusal("hf:my/images")
    for name in ("", "../x", "a/b/c", ".hidden", f"{tmp_path}/my/images"):
        assert "expected hf:owner/name" in refusal(f"hf:{name}")


def test_without_a_network_one_message_says_how_to_bring_a_dataset_over(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    message = refusal("hf:owner/pets")
    assert "127.0.0.1:9 does not answer" in message
    assert "`hf download owner/pets --repo-type dataset --local-dir DIR`" in message


def test_images_beside_a_link_to_a_folder_with_parquet_are_no_dataset_of_the_hub(tmp_path: Path):
    write(tmp_path / "all.parquet", [0, 1] * 10)
    for label, name in enumerate(NAMES):
        for number in range(4):
            miniature.save(tmp_path / "pets" / name / f"{number}.png", label, number)
    (tmp_path / "pets" / "cat" / "up").symlink_to(tmp_path)
    dataset = load_dataset("pets", tmp_path / "pets")
    assert {record.path.partition("/")[0] for record in dataset.train} == set(NAMES)


def test_no_other_image_of_a_row_is_opened(tmp_path: Path):
    table = saved([0, 1] * 10)
    mask = {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "path": None}
    masked = table.add_column("mask", [mask] * 20).cast_column("mask", datasets.Image())
    masked.to_parquet(tmp_path / "x.parquet")
    for dataset in (load_dataset("pets", tmp_path / "x.parquet"), Dataset.from_huggingface(masked)):
        image = dataset.source.open_image("train/000003")
        assert image.tobytes() == miniature.draw(1, 3).tobytes()
    for part in ("label", "group"):
        message = refusal("pets", tmp_path / "x.parquet", columns={part: "mask"})
        assert f"name another in columns.{part}" in message


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()], ids=str)
def test_encoded_images_may_be_in_any_binary_column(kind: pa.DataType, tmp_path: Path):
    contents = io.BytesIO()
    miniature.draw(0, 0).save(contents, "PNG")
    plain = pa.array([contents.getvalue()] * 4, kind)
    for cells in (plain, pa.StructArray.from_arrays([plain], ["bytes"])):
        write_cells(tmp_path / "x.parquet", cells, [*"aabb"])
        source = load_dataset("pets", tmp_path / "x.parquet").source
        assert source.open_image("train/000000").tobytes() == miniature.draw(0, 0).tobytes()


def test_a_table_of_the_library_has_a_hash_that_its_content_and_history_change():
    table, other = (datasets.Dataset.from_dict({"label": [0, n]}) for n in (1, 2))
    prints = {table_fingerprint(one) for one in (table, other, table.select([1]))}
    assert len(prints) == 3
    assert min(map(len, prints)) >= 16
