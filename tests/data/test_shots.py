import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.data.datasets import load_dataset
from study.data.records import Records
from study.data.shots import draw_shots, read_shots, write_shots
from study.errors import DataError
from tests.paper_dataset import grouped, groups_of, make_paper_dataset

SHOTS = draw_shots(make_paper_dataset(classes=3), shots=2, seed=1)
"""Two shots of three classes."""


def test_all_shots_are_all_images_less_a_fifth_that_validates(tmp_path: Path):
    dataset = make_paper_dataset(classes=3)
    alone = replace(dataset, val=())
    shots = draw_shots(dataset, shots="all", seed=1)
    assert ({*shots.train}, {*shots.val}) == ({*dataset.train}, {*dataset.val})
    shots = draw_shots(alone, shots="all", seed=1)
    assert {*shots.train, *shots.val} == {*dataset.train}
    assert labels(shots.val) == dict.fromkeys(range(3), 2)  # of eight
    write_shots(shots, tmp_path / "x.jsonl")
    assert read_shots(tmp_path / "x.jsonl") == shots
    assert not draw_shots(dataset, shots="all", val_shots=0, seed=1).val
    most = draw_shots(alone, shots="all", val_shots=99, seed=1)
    assert labels(most.val) == labels(most.train), "at most half"
    with pytest.raises(DataError, match="no training image of 'class 1'"):
        draw_shots(replace(alone, train=dataset.train[:1]), shots="all", seed=1)
    with pytest.raises(DataError, match="a fifth to validate"):
        draw_shots(replace(alone, train=grouped(dataset.train)), shots="all", val_shots=1, seed=1)


@pytest.mark.parametrize(
    "pattern, replacement, message",
    [
        ("train/0/", "train/9/", "have digest .* the header says"),
        (r'"digest": "\w+"', r'"digest": "\\ud800"', "have digest .* the header says"),
        (r"(?s).*", "{", "not a file of shots"),
        (r"(?s).*", '{"a": 1}\n{"split": "x"}', "not a file of shots"),
    ],
)
def test_a_file_that_was_changed_or_is_of_something_else_is_refused(
    pattern: str, replacement: str, message: str, tmp_path: Path
):
    file = tmp_path / "x.jsonl"
    write_shots(SHOTS, file)
    file.write_text(re.sub(pattern, replacement, file.read_text().strip(), count=1))
    with pytest.raises(DataError, match=rf"x\.jsonl.*{message}") as caught:
        read_shots(file)
    str(caught.value).encode()  # what is not text is escaped
    file.unlink()
    with pytest.raises(DataError, match=r"x\.jsonl is missing"):
        read_shots(file)


def labels(records: Records) -> Counter[int]:
    """Count images a class."""
    return Counter(record.label for record in records)


def test_a_draw_is_pinned_so_that_it_is_the_same_everywhere():
    shots = draw_shots(load_dataset("digits"), shots=16, seed=1)
    assert shots.digest == "fc445c230bacfeec91752b7b8eacad18d03e1031a0099258ebd1cac39fb67fb1"


@given(st.integers(1, 8), st.integers(0, 5), st.permutations(range(24)))
def test_a_draw_does_not_depend_on_the_order_of_the_lists(shots: int, seed: int, order: list[int]):
    plain = make_paper_dataset(classes=3, train=8, val=8)
    train = tuple(plain.train[i] for i in order)
    val = tuple(plain.val[i] for i in reversed(order))
    drawn = draw_shots(plain, shots=shots, seed=seed)
    mixed = replace(plain, train=train, val=val)
    assert drawn == draw_shots(mixed, shots=shots, seed=seed)
    assert labels(drawn.train) == dict.fromkeys(range(3), shots)
    assert labels(drawn.val) == dict.fromkeys(range(3), min(shots, 4))
    assert {*drawn.train} <= {*train}
    assert {*drawn.val} <= {*val}


def test_another_seed_or_name_gives_other_images_and_validation_shots_do_not():
    dataset = make_paper_dataset(train=50)
    draws = [draw_shots(dataset, shots=4, seed=seed) for seed in (1, 2, 3)]
    draws.append(draw_shots(replace(dataset, name="other"), shots=4, seed=1))
    assert len({draw.digest for draw in draws}) == 4
    none = draw_shots(dataset, shots=4, val_shots=0, seed=1)
    assert (none.train, none.val) == (draws[0].train, ())


def test_training_and_validation_shots_have_no_group_in_common(tmp_path: Path):
    dataset = make_paper_dataset(train=12, val=0)
    dataset = replace(dataset, train=grouped(dataset.train))
    shots = draw_shots(dataset, shots=3, val_shots=2, seed=1)
    assert labels(shots.train) == dict.fromkeys(range(10), 3)
    assert labels(shots.val) == dict.fromkeys(range(10), 2)
    assert not groups_of(shots.train) & groups_of(shots.val)
    write_shots(shots, tmp_path / "x.jsonl")
    read = read_shots(tmp_path / "x.jsonl")
    assert groups_of(read.val) == groups_of(shots.val), "the file has the groups"
    whole = replace(dataset, train=grouped(dataset.train, 12))
    with pytest.raises(DataError, match=r"every class on both sides; not of 'class 0', .* '0/0'"):
        draw_shots(whole, shots=3, seed=1)
    alone = draw_shots(whole, shots=3, val_shots=0, seed=1)
    assert alone.train == draw_shots(make_paper_dataset(train=12), shots=3, seed=1).train


def test_a_class_with_too_few_images_is_named_with_its_count():
    dataset = make_paper_dataset(classes=3, train=5)
    dataset = replace(dataset, train=dataset.train[1:])
    message = "5 shots per class are requested, but 'class 0' has 4; use at most 4 shots"
    with pytest.raises(DataError, match=message):
        draw_shots(dataset, shots=5, seed=1)
    shots = draw_shots(dataset, shots=5, seed=1, short="take_all")
    assert labels(shots.train) == {0: 4, 1: 5, 2: 5}
    without = replace(dataset, train=dataset.train[4:])
    with pytest.raises(DataError, match="'class 0' has 0"):
        draw_shots(without, shots=1, seed=1, short="take_all")


def test_too_few_validation_images_fail_only_if_requested():
    dataset = make_paper_dataset(classes=2, train=4, val=2)
    assert labels(draw_shots(dataset, shots=4, seed=1).val) == {0: 2, 1: 2}
    with pytest.raises(DataError, match=r"3 validation images per class.*class 0 \(2\)"):
        draw_shots(dataset, shots=4, val_shots=3, seed=1)
    with pytest.raises(DataError, match=r"class 0 \(0\)"):
        draw_shots(replace(dataset, val=()), shots=4, seed=1)
