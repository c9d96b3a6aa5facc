"""A study that came to nothing leaves nothing, and whatever else was there stays."""

import json
from pathlib import Path

import pytest

from study.errors import InterruptedStudyError, StudyError, TrackingError
from study.storage.atomic import StorageError
from study.storage.ledger_files import LedgerError
from study.storage.removal import deletion_path, new_study
from study.storage.study_folder import StudyFolder


def fail_in(folder: StudyFolder, error: type[BaseException], *, made: str = "trials") -> None:
    """Begin a new study beside a folder of images, and fail once a part of it is made."""
    images = folder.path.parent / "images"

    def begin() -> None:
        with new_study(folder, [images]):
            images.mkdir(exist_ok=True)
            (images / f"{folder.name}.arrow").touch()
            if made == "identity.json":
                (folder.path / made).touch()
            else:
                folder.create("seed: 1\n", {})
                (folder.path / made).mkdir(exist_ok=True)
            raise error("no Ray")

    with pytest.raises(error):
        begin()


@pytest.mark.parametrize("error", [StudyError, ValueError, OSError])
def test_a_study_that_fails_before_its_first_trial_leaves_no_folder(
    tmp_path: Path, error: type[Exception]
) -> None:
    fail_in(StudyFolder(tmp_path / "deep" / "runs" / "mine"), error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [TrackingError, StorageError])
def test_a_study_that_waits_for_another_machine_stays_once_it_is_one(
    tmp_path: Path, error: type[Exception]
) -> None:
    folder = StudyFolder(tmp_path / "runs" / "mine")
    fail_in(folder, error)
    assert folder.exists()
    fail_in(StudyFolder(tmp_path / "others" / "mine"), error, made="identity.json")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_study_that_is_made_in_part_leaves_no_folder(tmp_path: Path) -> None:
    fail_in(StudyFolder(tmp_path / "runs" / "mine"), OSError, made="identity.json")
    assert list(tmp_path.iterdir()) == []


def test_a_relative_storage_is_left_as_it_was_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fail_in(StudyFolder(Path("runs/mine")), StudyError)
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_was_there_stays_with_what_was_in_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "earlier.arrow").touch()
    fail_in(StudyFolder(tmp_path / "mine"), StudyError)
    assert {path.name for path in tmp_path.rglob("*.arrow")} == {"earlier.arrow", "mine.arrow"}
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_study_that_came_meanwhile_keeps_storage_and_images(tmp_path: Path) -> None:
    storage = tmp_path / "runs"

    def begin() -> None:
        with new_study(StudyFolder(storage / "mine"), [storage / "images"]):
            (storage / "images").mkdir()
            StudyFolder(storage / "yours").create("seed: 1\n", {})
            raise StudyError("no Ray")

    with pytest.raises(StudyError, match="no Ray"):
        begin()
    assert sorted(path.name for path in storage.iterdir()) == ["images", "yours"]


def test_a_study_with_any_trial_stays(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "runs" / "mine")
    fail_in(folder, StudyError, made="trials/search-0000")
    assert folder.exists()


@pytest.mark.parametrize("error", [InterruptedStudyError, KeyboardInterrupt])
def test_a_study_that_was_interrupted_stays_and_can_go_on(
    tmp_path: Path, error: type[BaseException]
) -> None:
    folder = StudyFolder(tmp_path / "runs" / "mine")
    fail_in(folder, error)
    assert folder.exists()


def test_a_study_that_was_there_before_stays(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "runs" / "mine")
    folder.create("seed: 1\n", {})
    with pytest.raises(LedgerError, match="exists"), new_study(folder):
        folder.create("seed: 2\n", {})
    assert folder.config_path.read_text() == "seed: 1\n"


def test_a_study_that_another_driver_runs_stays(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "runs" / "mine")
    with new_study(folder):
        with pytest.raises(LedgerError, match="another process"), new_study(folder):
            pytest.fail("two drivers")
        folder.create("seed: 1\n", {})
    assert json.loads((folder.path / "identity.json").read_text())["study_id"]


def test_what_is_to_be_deleted_does_not_look_like_a_study(tmp_path: Path) -> None:
    aside = deletion_path(tmp_path / "mine")
    assert aside.parent == tmp_path
    assert aside.name.startswith(".deleted-mine-")
    assert aside != deletion_path(tmp_path / "mine")
