"""The command ``sync``."""

from collections.abc import Callable
from typing import Any
from unittest.mock import create_autospec

import pytest

from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker, TrackerLines
from tests.commands.conftest import Run


def test_a_study_that_runs_is_not_synced_beside(mine: StudyFolder, refused: Callable[..., str]):
    with mine.locked():
        assert "run by another process" in refused("sync", "mine")


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Any:
    tracker = create_autospec(Tracker, instance=True, title="MLflow")
    monkeypatch.setattr("study.tracking.make_tracker", lambda _: tracker)
    return tracker


@pytest.mark.usefixtures("mine")
def test_a_study_is_sent_and_what_its_tracker_lacks_is_named(
    tracker: Any, run: Run, refused: Callable[..., str]
):
    tracker.close.return_value = TrackerLines()
    assert run("sync", "mine").out == "2 trials of mine are in MLflow\n"
    tracker.close.return_value = TrackerLines("1 run:\n  search-0000: away")
    assert "of study 'mine', MLflow lacks 1 run: search-0000: away" in refused("sync", "mine")
    tracker.register.assert_not_called()  # the study has not ended


@pytest.mark.usefixtures("mine")
def test_a_study_without_a_tracker_is_not_synced(refused: Callable[..., str]):
    message = refused("sync", "mine", "tracking.tracker=none")
    assert "tracking.tracker is none" in message
