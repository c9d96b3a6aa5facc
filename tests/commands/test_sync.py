"""The command ``sync``."""

from collections.abc import Callable
from unittest.mock import Mock

import pytest

from study.storage.study_folder import StudyFolder
from tests.commands.conftest import Run


def test_a_study_that_runs_is_not_synced_beside(mine: StudyFolder, refused: Callable[..., str]):
    with mine.locked():
        assert "run by another process" in refused("sync", "mine")


def test_the_number_of_trials_that_are_kept_is_told(
    mine: StudyFolder, run: Run, monkeypatch: pytest.MonkeyPatch
):
    tracker = Mock(title="MLflow", sync=Mock(return_value=2))
    monkeypatch.setattr("study.tracking.make_tracker", lambda _: tracker)
    assert run("sync", "mine").out == "2 trials of mine are in MLflow\n"
