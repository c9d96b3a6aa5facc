"""The command ``sync``."""

from unittest.mock import Mock

import pytest

from study.commands import main
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import SyncResult


def test_a_study_that_runs_is_not_synced_beside(
    mine: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with mine.locked():
        assert main(["sync", "mine"]) == 2
    assert "run by another process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("synced", "told"),
    [
        (SyncResult(2, 0), "2 trials of mine are in MLflow"),
        (SyncResult(2, 1), "2 trials of mine are in MLflow, 1 of them sent again"),
    ],
)
def test_what_was_sent_is_told_and_what_was_sent_again(
    mine: StudyFolder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    synced: SyncResult,
    told: str,
) -> None:
    tracker = Mock(title="MLflow")
    tracker.sync.return_value = synced
    monkeypatch.setattr("study.tracking.make_tracker", lambda _: tracker)
    assert main(["sync", "mine"]) == 0
    assert capsys.readouterr().out == f"{told}\n"
