"""The command ``labels``: its file, what it prints, and further images that what ships scores."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.data.datasets import load_dataset
from study.results.label_check import SHIPPED
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import VALIDATION
from tests.changed_studies import change_json, doubt_labels_of
from tests.workflow.conftest import Run, enter_place_of
from tests.workflow.test_json_documents import check


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


def test_labels_to_check_are_in_a_file_and_the_first_are_printed(study: Any, run: Run):
    ran = run("labels", "mine")
    assert ran.code == 0
    assert ran.out.startswith("1 of 9 labels of training images are doubtful.")
    assert "-1.png" in ran.out
    file = study.folder.path / "labels.csv"
    assert ran.out.splitlines()[-1] == str(file)
    (row,) = csv.DictReader(file.read_text().splitlines())
    assert (row["path"], row["suggested"], row["agree"]) == ("./-1.png", "digit two", "2")
    assert run("labels", "mine", "--out", "mine.csv").out.endswith("\nmine.csv\n")
    as_json = run("labels", "mine", "--json", "--out", "mine.csv").out
    assert check(as_json, "Labels")["doubted"][0]["path"] == "-1.png"
    assert Path("mine.csv").read_text() == file.read_text()


def test_images_that_no_trial_drew_are_scored_by_what_ships(study: Any, run: Run):
    out = run("labels", "mine", "--all", "--out", "all.csv").out
    rows = [row for row in Path("all.csv").read_text().splitlines() if row.endswith(SHIPPED)]
    digits = load_dataset("digits")
    further = len(digits.train) + len(digits.val) - 160
    assert f"{len(rows)} of {further} labels of further training images" in out
    assert all(row.startswith("digits/") and row.split(",")[3:5] == ["1", "1"] for row in rows)


def test_what_is_missing_or_damaged_is_named(study: Any, refused: Callable[..., str]):
    assert "a file whose name ends in .csv" in refused("labels", "mine", "--out", "a.txt")
    trials = [*study.folder.path.glob("trials/search-*")]
    for trial in trials:
        (trial / VALIDATION).unlink()
    assert "that kept probabilities of validation images" in refused("labels", "mine")
    for trial in trials:
        (trial / VALIDATION).write_bytes(b"PAR1 no more")
    assert "validation.parquet is damaged" in refused("labels", "mine")


def test_a_study_is_looked_for_where_the_word_says(mine: StudyFolder, refused: Callable[..., str]):
    told = refused("labels", "nosuch", "storage=runs", "--all")
    assert "no study 'nosuch' in runs; studies there: 'mine'" in told
