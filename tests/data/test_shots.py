import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from study.data.datasets import Dataset, Record, load_dataset
from study.data.images.sources import FolderSource
from study.data.shots import (
    Shots,
    draw_shots,
    make_shots,
    read_published_shots,
    read_shots,
    write_shots,
)
from study.data.tasks import all_classes, check_shots, confirm_task
from study.errors import DataError

CASES = yaml.safe_load(Path(__file__).with_name("shots.yaml").read_text())
Make = Callable[..., Dataset]


@pytest.fixture
def shots(paper_dataset: Callable[..., Dataset]) -> Shots:
    """Two shots of three classes."""
    return draw_shots(paper_dataset(classes=3), shots=2, seed=1)


def test_shots_survive_their_file(shots: Shots, tmp_path: Path) -> None:
    write_shots(shots, tmp_path / "shots" / "x.jsonl")
    assert read_shots(tmp_path / "shots" / "x.jsonl") == shots
    assert [path.name for path in (tmp_path / "shots").iterdir()] == ["x.jsonl"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines[:-1],
        lambda lines: [line.replace("train/0/", "train/9/") for line in lines],
        lambda lines: [re.sub(r'"digest": "\w+"', r'"digest": "\\ud800"', lines[0]), *lines[1:]],
    ],
)
def test_a_changed_file_is_refused(
    spoil: Callable[[list[str]], list[str]], shots: Shots, tmp_path: Path
) -> None:
    file = tmp_path / "x.jsonl"
    write_shots(shots, file)
    file.write_text("\n".join(spoil(file.read_text().splitlines())))
    with pytest.raises(DataError, match=r"have digest .* the header says") as told:
        read_shots(file)
    str(told.value).encode()  # what is not text is escaped


@pytest.mark.parametrize("text", ["", "{", "[]\n", '{"digest": 1}\n', '{"a": 1}\n{"split": "x"}'])
def test_a_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"x\.jsonl"):
        read_shots(tmp_path / "x.jsonl")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.jsonl is missing; looked in"):
        read_shots(tmp_path / "x.jsonl")


def labels(records: tuple[Record, ...]) -> Counter[int]:
    """Count images a class."""
    return Counter(record.label for record in records)


def test_a_draw_is_pinned_so_that_it_is_the_same_everywhere() -> None:
    shots = draw_shots(load_dataset("digits"), shots=16, seed=1)
    assert shots.digest == "fc445c230bacfeec91752b7b8eacad18d03e1031a0099258ebd1cac39fb67fb1"


@given(st.integers(1, 8), st.integers(0, 5), st.permutations(range(24)))
def test_a_draw_does_not_depend_on_the_order_of_the_lists(
    shots: int, seed: int, order: list[int]
) -> None:
    train = [Record(f"{label}/{i}", label) for label in range(3) for i in range(8)]
    val = [Record(f"v{label}/{i}", label) for label in range(3) for i in range(8)]
    plain = Dataset("x", ("a", "b", "c"), ("{}",), tuple(train), tuple(val), (), None)  # type: ignore[arg-type]
    mixed = replace(
        plain, train=tuple(train[i] for i in order), val=tuple(val[i] for i in reversed(order))
    )
    drawn = draw_shots(plain, shots=shots, seed=seed)
    assert drawn == draw_shots(mixed, shots=shots, seed=seed)
    assert labels(drawn.train) == dict.fromkeys(range(3), shots)
    assert labels(drawn.val) == dict.fromkeys(range(3), min(shots, 4))
    assert set(drawn.train) <= set(train)
    assert set(drawn.val) <= set(val)


def test_another_seed_or_number_of_shots_gives_other_images(paper_dataset: Make) -> None:
    dataset = paper_dataset(train=50)
    draws = [draw_shots(dataset, shots=4, seed=seed) for seed in (1, 2, 3)]
    draws.append(draw_shots(replace(dataset, name="other"), shots=4, seed=1))
    assert len({draw.digest for draw in draws}) == 4


def test_every_image_is_drawn_about_equally_often(paper_dataset: Make) -> None:
    dataset = paper_dataset(classes=2, train=10)
    drawn = Counter(r for seed in range(400) for r in draw_shots(dataset, shots=3, seed=seed).train)
    # 400 draws of 3 in 10: 120 expected, a standard deviation of 9.2.
    assert len(drawn) == 20
    assert all(80 < count < 160 for count in drawn.values())


def test_without_a_validation_split_the_rest_of_train_serves(paper_dataset: Make) -> None:
    dataset = paper_dataset(train=8, val=0)
    shots = draw_shots(dataset, shots=4, seed=1)
    assert labels(shots.val) == dict.fromkeys(range(10), 4)
    assert set(shots.val) <= set(dataset.train) - set(shots.train)


def test_validation_shots_do_not_change_the_training_shots(paper_dataset: Make) -> None:
    dataset = paper_dataset()
    many, none = (draw_shots(dataset, shots=2, val_shots=n, seed=1) for n in (4, 0))
    assert many.train == none.train
    assert not none.val


def test_a_class_with_too_few_images_is_named_with_its_count(paper_dataset: Make) -> None:
    dataset = paper_dataset(classes=3, train=5)
    dataset = replace(dataset, train=tuple(r for r in dataset.train if r.path != "train/1/0.jpg"))
    told = "5 shots a class are wanted, but 'class 1' has 4; allowed: at most 4 shots"
    with pytest.raises(DataError, match=told):
        draw_shots(dataset, shots=5, seed=1)
    shots = draw_shots(dataset, shots=5, seed=1, short="take_all")
    assert labels(shots.train) == {0: 5, 1: 4, 2: 5}


def test_a_class_without_any_image_fails_whatever_is_chosen(paper_dataset: Make) -> None:
    dataset = paper_dataset(classes=3)
    dataset = replace(dataset, train=tuple(r for r in dataset.train if r.label))
    with pytest.raises(DataError, match="'class 0' has 0"):
        draw_shots(dataset, shots=1, seed=1, short="take_all")


def test_too_few_validation_images_fail_only_if_asked_for(paper_dataset: Make) -> None:
    dataset = paper_dataset(classes=2, val=2)
    assert labels(draw_shots(dataset, shots=4, seed=1).val) == {0: 2, 1: 2}
    with pytest.raises(DataError, match=r"3 validation images a class.*class 0 \(2\)"):
        draw_shots(dataset, shots=4, val_shots=3, seed=1)
    bare = paper_dataset(classes=2, train=4, val=0)
    with pytest.raises(DataError, match=r"class 0 \(0\)"):
        draw_shots(bare, shots=4, seed=1)


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


@pytest.mark.parametrize("prefix", CASES["prefixes"])
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


@pytest.mark.parametrize(("rows", "told"), CASES["unsound"])
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
