import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from study.data.datasets import Dataset, Record
from study.data.images.sources import FolderSource
from study.data.published_shots import read_published_shots
from study.data.shots import make_shots
from study.data.tasks import all_classes, check_shots, confirm_task
from study.errors import DataError


@pytest.fixture
def eurosat(paper_dataset: Callable[..., Dataset]) -> Dataset:
    """Two classes of EuroSAT on paper."""

    def records(*numbers: int) -> tuple[Record, ...]:
        forest = [Record(f"2750/Forest/Forest_{i}.jpg", 0) for i in numbers]
        return (*forest, *(Record(f"2750/SeaLake/SeaLake_{i}.jpg", 1) for i in numbers))

    return replace(
        paper_dataset(),
        name="eurosat",
        class_names=("Forest", "Sea or Lake"),
        train=records(1, 2, 3),
        val=records(4, 5),
        test=records(6),
    )


def published(prefix: str, *numbers: int) -> list[dict[str, object]]:
    """Give records as others publish them."""
    kinds = [("Forest", 0, "Forest"), ("SeaLake", 1, "Sea or Lake")]
    return [
        {"impath": f"{prefix}{kind}/{kind}_{i}.jpg", "label": label, "classname": name}
        for kind, label, name in kinds
        for i in numbers
    ]


def write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    """Write JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    "prefix",
    [
        "eurosat/2750/",
        "./data/eurosat/2750/",
        "/home/x/DATA/eurosat/2750/",
        "C:\\Users\\x\\DATA\\eurosat\\2750\\",
        "\\\\server\\share/eurosat//2750/./",
        "../DATA/eurosat/2750/",
        "2750/",
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "json"])
@pytest.mark.parametrize("above", [False, True])
def test_published_shots_are_found_whatever_their_root(
    prefix: str, form: str, above: bool, eurosat: Dataset, tmp_path: Path
) -> None:
    train, val = published(prefix, 1, 3), published(prefix, 5)
    if form == "jsonl":
        folder = tmp_path / "split_fewshot"
        write_lines(folder / "shot_2-seed_1_train.jsonl", train)
        write_lines(folder / "shot_2-seed_1_val.jsonl", val)
    else:
        folder = tmp_path / "indices" / "eurosat"
        folder.mkdir(parents=True)
        content = {"train": {"data": train, "indices": [0]}, "val": {"data": val, "indices": []}}
        (folder / "shot_2-seed_1.json").write_text(json.dumps(content))
    place = tmp_path if above else folder
    shots = read_published_shots(place, eurosat, shots=2, seed=1)
    own = [Record(f"2750/Forest/Forest_{i}.jpg", 0) for i in (1, 3)]
    own += [Record(f"2750/SeaLake/SeaLake_{i}.jpg", 1) for i in (1, 3)]
    assert shots == make_shots("eurosat", 2, 1, own, shots.val)
    assert [record.path for record in shots.val] == [
        "2750/Forest/Forest_5.jpg",
        "2750/SeaLake/SeaLake_5.jpg",
    ]


def test_a_published_file_may_be_given_itself(eurosat: Dataset, tmp_path: Path) -> None:
    write_lines(tmp_path / "shot_1-seed_2_train.jsonl", published("", 1))
    file = tmp_path / "shot_1-seed_2_train.jsonl"
    with pytest.raises(DataError, match="eurosat has no such images"):
        read_published_shots(file, eurosat, shots=1, seed=2)
    write_lines(file, published("2750/", 1))
    assert len(read_published_shots(file, eurosat, shots=1, seed=2).train) == 2
    with pytest.raises(DataError, match="not the split of 1 shots and seed 3"):
        read_published_shots(file, eurosat, shots=1, seed=3)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (published("2750/", 6), "images of the test split of eurosat"),
        (published("2750/", 9), "eurosat has no such images"),
        (published("2750/", 4), "in both train and val"),
        (published("2750/", 1, 1), "listed twice"),
        ([{"impath": "2750/Forest/Forest_1.jpg", "label": 1, "classname": "Forest"}], "is 1 'For"),
        ([{"impath": "2750/Forest/Forest_1.jpg", "label": 0, "classname": "Wood"}], "0 'Wood'"),
        ([{"impath": "2750/Forest/Forest_1.jpg"}], "needs impath, label and classname"),
        (["x"], "needs impath"),
        ([{**published("2750/", 1)[0], "label": 0.5}], "needs impath"),
        ([{**published("2750/", 1)[0], "label": float("inf")}], "needs impath"),
        ([], "has no training images"),
        (published("2750/", 1, 2), r"more than 1 images of 'Forest \(2\)', 'Sea or Lake \(2\)'"),
    ],
)
def test_unsound_published_shots_are_refused(
    rows: list[dict[str, object]], told: str, eurosat: Dataset, tmp_path: Path
) -> None:
    write_lines(tmp_path / "shot_1-seed_1_train.jsonl", rows)
    write_lines(tmp_path / "shot_1-seed_1_val.jsonl", published("2750/", 4))
    with pytest.raises(DataError, match=told):
        read_published_shots(tmp_path, eurosat, shots=1, seed=1)


@pytest.mark.parametrize("name", ["shot_1-seed_1_train.jsonl", "shot_1-seed_1.json"])
@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000])
def test_a_damaged_file_is_named(name: str, text: str, eurosat: Dataset, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=name):
        read_published_shots(tmp_path, eurosat, shots=1, seed=1)


def test_a_file_that_was_cut_is_told_and_cannot_train(
    eurosat: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_lines(tmp_path / "shot_2-seed_1_train.jsonl", published("2750/", 1, 2)[:1])
    shots = read_published_shots(tmp_path, eurosat, shots=2, seed=1)
    assert "fewer than 2 images of 'Forest (1)'" in caplog.text
    with pytest.raises(DataError, match="no training image of 'Sea or Lake'"):
        confirm_task(eurosat, shots, all_classes(eurosat))
    with pytest.raises(DataError, match="no training image of 'Sea or Lake'"):
        check_shots(eurosat, shots, (0, 1))
    assert confirm_task(eurosat, shots, {"base": (0,), "new": (1,)}).train.classes == (0,)


def test_splits_may_lie_in_a_folder_that_is_called_otherwise_than_the_dataset(
    eurosat: Dataset, tmp_path: Path
) -> None:
    elsewhere = replace(eurosat, source=FolderSource(tmp_path / "data" / "euro-sat"))
    write_lines(
        tmp_path / "euro-sat/split_fewshot/shot_1-seed_1_train.jsonl", published("2750/", 1)
    )
    assert len(read_published_shots(tmp_path, elsewhere, shots=1, seed=1).train) == 2


def test_a_pickle_is_never_read(eurosat: Dataset, tmp_path: Path) -> None:
    (tmp_path / "shot_1-seed_1.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(DataError, match="a pickle can run any code"):
        read_published_shots(tmp_path, eurosat, shots=1, seed=1)
    with pytest.raises(DataError, match=r"shot_1-seed_2\.json is missing; looked in"):
        read_published_shots(tmp_path, eurosat, shots=1, seed=2)
