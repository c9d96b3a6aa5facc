"""The command ``labels``: its file, what it prints, and further images that what ships scores."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.data.datasets import load_dataset
from study.results.label_check import SHIPPED
from study.storage.trial_folder import VALIDATION
from tests.changed_studies import change_json, doubt_labels_of
from tests.workflow.conftest import Run, enter_place_of


@pytest.fixture
def study(finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A finished study of the digits, in ``runs`` of this folder, that doubts one label."""
    (tmp_path / "runs").mkdir()
    study = finish(tmp_path / "runs", "mine")
    (split,) = (study.folder.path / "shots").glob("tasks-*.jsonl")
    for path in study.folder.path.glob("trials/*/config.json"):
        change_json(path, split_hash=split.stem.removeprefix("tasks-"))
    enter_place_of(study, monkeypatch)
    doubt_labels_of(study.folder.path, "-1.png", ("digit one", "digit two"))
    return study


def test_labels_to_check_are_in_a_file_and_the_first_are_printed(study: Any, run: Run) -> None:
    ran = run("labels", "mine")
    assert ran.code == 0
    assert ran.out.startswith("1 of 9 labels of training images are doubtful.")
    assert "-1.png" in ran.out
    file = study.folder.path / "labels.csv"
    assert ran.out.splitlines()[-1] == str(file)
    (row,) = csv.DictReader(file.read_text().splitlines())
    assert (row["path"], row["suggested"], row["agree"]) == ("./-1.png", "digit two", "2")
    assert run("labels", "mine", "--out", "mine.csv").out.endswith("\nmine.csv\n")
    assert Path("mine.csv").read_text() == file.read_text()


def test_images_that_no_trial_drew_are_scored_by_what_ships(study: Any, run: Run) -> None:
    ran = run("labels", "mine", "--all", "--out", "all.csv")
    assert ran.code == 0
    lines = Path("all.csv").read_text().splitlines()
    rows = [row for row in csv.DictReader(lines) if row["source"] == SHIPPED]
    pool = {record.path for record in load_dataset("digits").train + load_dataset("digits").val}
    assert f"{len(rows)} of {len(pool) - 160} labels of further training images" in ran.out
    assert {row["path"] for row in rows} <= pool
    assert {row["models"] for row in rows} == {"1"}


@pytest.mark.parametrize(
    ("break_it", "words", "told"),
    [
        (lambda trial: (trial / VALIDATION).write_bytes(b"x"), (), "validation.parquet is damaged"),
        (
            lambda trial: (trial / VALIDATION).unlink(),
            (),
            "kept probabilities of validation images",
        ),
        (lambda trial: None, ("--out", "a.txt"), "a file whose name ends in .csv"),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    study: Any,
    refused: Callable[..., str],
    break_it: Callable[[Path], object],
    words: tuple[str, ...],
    told: str,
) -> None:
    for trial in study.folder.path.glob("trials/search-*"):
        break_it(trial)
    assert told in refused("labels", "mine", *words)


def test_a_model_whose_images_are_unknown_scores_none(
    study: Any, refused: Callable[..., str]
) -> None:
    for path in (study.folder.path / "shots").glob("tasks-*"):
        path.unlink()
    assert "does not say what the winner of study 'mine'" in refused("labels", "mine", "--all")
