"""The command ``sync``."""

from collections.abc import Callable
from unittest.mock import Mock

import pytest

from study.storage.study_folder import StudyFolder
from study.tracking.tracker import SyncResult
from tests.workflow.conftest import Run


def test_a_study_that_runs_is_not_synced_beside(mine: StudyFolder, refused: Callable[..., str]):
    with mine.locked():
        assert "run by another process" in refused("sync", "mine")


@pytest.mark.parametrize("resent, told", [(0, ""), (1, ", 1 of them sent again")])
def test_what_was_sent_is_told_and_what_was_sent_again(
    mine: StudyFolder, run: Run, monkeypatch: pytest.MonkeyPatch, resent: int, told: str
):
    tracker = Mock(title="MLflow")
    tracker.sync.return_value = SyncResult(2, resent)
    monkeypatch.setattr("study.tracking.make_tracker", lambda _: tracker)
    assert run("sync", "mine").out == f"2 trials of mine are in MLflow{told}\n"
