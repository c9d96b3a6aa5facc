"""What is damaged of the ledger's files is told with the file."""

import pytest

from study.storage.ledger_files import LedgerError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder


def test_a_number_that_json_lacks_is_refused(trial: TrialFolder) -> None:
    with pytest.raises(ValueError, match="JSON"):
        trial.append_report({"epoch": 1, "val_score": float("nan")})


def test_damage_is_told_with_the_file(folder: StudyFolder, trial: TrialFolder) -> None:
    (trial.path / "reports.jsonl").write_bytes(b"\0\0\0\n")
    with pytest.raises(LedgerError, match=r"reports\.jsonl is damaged"):
        _ = trial.read_reports()
    (trial.path / "end.json").write_text('{"status"')
    with pytest.raises(LedgerError, match=r"end\.json is damaged"):
        _ = trial.read_end()
    (trial.path / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(LedgerError, match=r"config\.json is damaged"):
        _ = trial.read_config()
    folder.write_json("candidates.json", [1])
    (folder.path / "candidates.json").write_text("[")
    with pytest.raises(LedgerError, match=r"candidates\.json is damaged"):
        folder.read_json("candidates.json")


def test_an_end_of_another_version_is_damage_and_no_crash(trial: TrialFolder) -> None:
    (trial.path / "end.json").write_text('{"status": "finished", "verdict": "good"}')
    with pytest.raises(LedgerError, match=r"end\.json is damaged"):
        _ = trial.read_end()


def test_what_was_not_written_is_none(folder: StudyFolder) -> None:
    assert folder.read_json("candidates.json") is None
    folder.write_json("candidates.json", [{"λ": 1}])
    assert folder.read_json("candidates.json") == [{"λ": 1}]
