"""What tests of commands share: a working folder with a study."""

from pathlib import Path

import pytest
from written_study import Written

from study.storage.ledger import StudyFolder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder whose ``runs`` has the studies."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mine(here: Path) -> StudyFolder:
    """A study of two trials, one of which is finished."""
    written = Written(here / "runs", "mine")
    written.whole(1)
    written.report(written.trial(2), 1)
    return written.folder
