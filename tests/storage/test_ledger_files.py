"""What is damaged of the ledger's files is told with the file."""

from collections.abc import Callable

import pytest

from study.storage.ledger_files import LedgerError
from study.storage.trial_folder import TrialFolder


def test_a_number_that_json_lacks_is_refused(trial: TrialFolder):
    with pytest.raises(ValueError, match="JSON"):
        trial.append_report({"epoch": 1, "val_score": float("nan")})


@pytest.mark.parametrize(
    "name, contents, read",
    [
        ("reports.jsonl", b"\0\0\0\n", TrialFolder.read_reports),
        ("end.json", b'{"status"', TrialFolder.read_end),
        # As of another version.
        ("end.json", b'{"status": "finished", "verdict": "good"}', TrialFolder.read_end),
        ("config.json", b"\xff\xfe", TrialFolder.read_config),
    ],
)
def test_damage_of_a_trial_is_told_with_the_file(
    trial: TrialFolder, name: str, contents: bytes, read: Callable[[TrialFolder], object]
):
    (trial.path / name).write_bytes(contents)
    with pytest.raises(LedgerError, match=f"{name} is damaged"):
        read(trial)
