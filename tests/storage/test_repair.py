"""What is damaged of a study is named, and taken back where it can be made again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.storage.repair import repair
from study.storage.result_folder import FolderError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from tests.damage import cut, flip, overwrite

REPORTS = [{"epoch": epoch, "val_score": epoch / 8, "seconds": 1.0} for epoch in (1, 2)]
CANDIDATES = [{"label": "best", "val_score": 0.25}]
Damage = Callable[[Path], object]


@pytest.fixture
def folder(folder: StudyFolder) -> StudyFolder:
    """A study with a trial that ended and one that did not."""
    folder.write_json("candidates.json", CANDIDATES)
    for number in (0, 1):
        trial = folder.trial(f"search-000{number}")
        trial.create({"number": number, "stage": "search"})
        for report in REPORTS:
            trial.append_reports(report)
        trial.write("delta.safetensors", b"0123456789", recorded=True)
    folder.trial("search-0000").write_end(End("finished", 2, 2.0))
    return folder


def contents(folder: StudyFolder) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_temporary_files_of_a_crash_are_deleted_and_no_others(folder: StudyFolder):
    for name in (".hidden", ".end.json.bak", ".lock.4711"):
        (folder.path / name).touch()
    before = contents(folder)
    for name in (".end.json.4711.0a1b2c3d", "trials/search-0000/.delta.safetensors.1.ffffffff"):
        (folder.path / name).touch()
    repair(folder)
    assert contents(folder) == before


@pytest.mark.parametrize(
    "name, damage",
    [
        ("reports.jsonl", flip),
        ("reports.jsonl", Path.unlink),
        ("delta.safetensors", Path.unlink),
        ("end.json", flip),
        ("end.json", overwrite),
    ],
)
def test_a_damaged_trial_is_named_and_trained_again(
    folder: StudyFolder, name: str, damage: Damage, caplog: pytest.LogCaptureFixture
):
    whole = folder.trial("search-0000")
    damage(whole.path / name)
    repair(folder)
    assert f"{name} damaged in {whole.path}; the trial is trained again" in caplog.text
    assert (whole.read_end(), whole.read_reports()) == (None, [])
    assert whole.read_config() == {"number": 0, "stage": "search"}
    assert not (whole.path / "delta.safetensors").exists()
    whole.append_reports(REPORTS[0])
    whole.write_end(End("failed", 1, 1.0))  # without a delta this time
    assert not whole.damaged()


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_configuration_is_named_and_nothing_is_touched(
    folder: StudyFolder, number: int, damage: Damage
):
    trial = folder.trial(f"search-000{number}")
    damage(trial.path / "config.json")
    with pytest.raises(
        FolderError, match=rf"{trial.path}/config\.json is damaged or missing; restore it"
    ):
        repair(folder)
    assert trial.read_reports() == REPORTS


@pytest.mark.parametrize("damage", [flip, overwrite])
def test_a_damaged_selection_is_taken_back_and_never_believed(folder: StudyFolder, damage: Damage):
    damage(folder.path / "candidates.json")
    with pytest.raises(FolderError, match=r"candidates\.json is damaged"):
        folder.read_json("candidates.json")
    repair(folder)
    assert folder.read_json("candidates.json") is None


def test_a_crash_between_the_checksum_and_its_file_is_no_damage(folder: StudyFolder):
    whole = folder.trial("search-0000")
    lost = folder.path / "trials" / "search-0007" / "config.json"
    lost.parent.mkdir()
    for path in (folder.path / "candidates.json", whole.path / "config.json", lost):
        with path.with_name("sha256.txt").open("a") as sums:
            sums.write(f"{'0' * 64}  {path.name}\n{'0' * 30}")
    repair(folder)
    assert folder.read_json("candidates.json") == CANDIDATES
    assert whole.read_end() is not None
    folder.write_json("candidates.json", [])
    assert folder.read_json("candidates.json") == []
