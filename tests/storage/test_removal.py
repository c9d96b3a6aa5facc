"""A study that came to nothing leaves nothing, and whatever else was there stays."""

import json
from pathlib import Path

import pytest

from study.errors import ClusterError, InterruptedStudyError, StudyError, TrackingError
from study.storage.atomic import StorageError
from study.storage.ledger_files import LedgerError
from study.storage.removal import new_study
from study.storage.study_folder import StudyFolder


def fail_in(folder: StudyFolder, error: type[BaseException], made: str = "trials"):
    """Begin a new study beside a folder of images, and fail once a part of it is made."""
    images = folder.path.parent / "images"

    def begin():
        with new_study(folder, [images]):
            images.mkdir(exist_ok=True)
            (images / f"{folder.name}.arrow").touch()
            if made == "identity.json":
                folder.write_json(made, {})
            else:
                folder.create("seed: 1\n", {})
                (folder.path / made).mkdir(exist_ok=True)
            raise error("no Ray")

    with pytest.raises(error):
        begin()


@pytest.mark.parametrize(
    "error, made, stays",
    [
        *((error, "trials", False) for error in (StudyError, ValueError, OSError)),
        (OSError, "identity.json", False),
        (StorageError, "identity.json", False),
        *((error, "trials", True) for error in (TrackingError, StorageError, ClusterError)),
        *((error, "trials", True) for error in (InterruptedStudyError, KeyboardInterrupt)),
        (StudyError, "trials/search-0000", True),
    ],
)
def test_a_new_study_that_fails_leaves_a_folder_only_if_it_can_go_on(
    tmp_path: Path, error: type[BaseException], made: str, stays: bool
):
    folder = StudyFolder(tmp_path / "deep" / "runs" / "mine")
    fail_in(folder, error, made)
    assert folder.exists() == any(tmp_path.iterdir()) == stays


def test_a_relative_storage_is_left_as_it_was_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    fail_in(StudyFolder(Path("runs/mine")), StudyError)
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_was_there_stays_with_what_was_in_it(tmp_path: Path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "earlier.arrow").touch()
    fail_in(StudyFolder(tmp_path / "mine"), StudyError)
    assert {path.name for path in images.iterdir()} == {"earlier.arrow", "mine.arrow"}
    assert list(tmp_path.iterdir()) == [images]


def test_a_study_that_came_meanwhile_keeps_storage_and_images(tmp_path: Path):
    storage = tmp_path / "runs"
    fail_in(StudyFolder(storage / "mine"), StudyError, made="../yours")
    assert sorted(path.name for path in storage.iterdir()) == ["images", "yours"]


def test_a_study_that_was_there_before_or_that_another_driver_runs_stays(tmp_path: Path):
    folder = StudyFolder(tmp_path / "runs" / "mine")
    with new_study(folder):
        with pytest.raises(LedgerError, match="another process"), new_study(folder):
            pytest.fail("two drivers")
        folder.create("seed: 1\n", {})
    with pytest.raises(LedgerError, match="exists"), new_study(folder):
        folder.create("seed: 2\n", {})
    assert folder.config_path.read_text() == "seed: 1\n"
    assert json.loads((folder.path / "identity.json").read_text())["study_id"]


@pytest.mark.parametrize("contents", ["photo.png", "study/data.csv", "trials/notes.txt"])
def test_a_folder_with_other_contents_is_refused_before_it_is_touched(
    tmp_path: Path, contents: str
):
    file = tmp_path / "runs" / "mine" / contents
    file.parent.mkdir(parents=True)
    file.touch()
    folder = StudyFolder(tmp_path / "runs" / "mine")
    with pytest.raises(StorageError, match="is taken"), new_study(folder):
        pytest.fail("it was claimed")
    assert [path for path in folder.path.rglob("*") if path.is_file()] == [file]


def test_an_empty_folder_may_be_claimed_and_stays_where_the_study_fails(tmp_path: Path):
    storage = tmp_path / "runs"
    (tmp_path / "disk").mkdir()
    storage.mkdir()
    (storage / "mine").symlink_to(tmp_path / "disk")
    (storage / "yours").mkdir()
    for name in ("mine", "yours"):
        fail_in(StudyFolder(storage / name), StudyError)
        assert list((storage / name).iterdir()) == []
    assert (storage / "mine").is_symlink()


def test_what_a_user_puts_into_the_folder_of_a_study_that_fails_stays(tmp_path: Path):
    folder = StudyFolder(tmp_path / "runs" / "mine")
    fail_in(folder, StudyError, made="notes")
    assert list(folder.path.iterdir()) == [folder.path / "notes"]


def test_a_file_and_a_link_to_nothing_are_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("file", "link"):
        with pytest.raises(StorageError, match="is taken"):
            new_study(StudyFolder(tmp_path / name)).__enter__()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_start_that_was_killed_may_be_repeated(tmp_path: Path):
    folder = StudyFolder(tmp_path / "mine")
    folder.create("seed: 1\n", {})
    folder.config_path.unlink()  # it is written last
    (folder.path / ".lock").touch()
    with new_study(folder):
        folder.create("seed: 2\n", {})
    assert folder.config_path.read_text() == "seed: 2\n"
