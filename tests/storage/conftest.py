"""A study's folder, and one of its trials."""

from pathlib import Path

import pytest

from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    study = StudyFolder(tmp_path / "runs" / "mine")
    study.create("seed: 1\n", {})
    return study


@pytest.fixture
def trial(folder: StudyFolder) -> TrialFolder:
    trial = folder.trial("search-0001")
    trial.create({"number": 1})
    return trial
