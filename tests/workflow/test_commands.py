"""The words of the command run."""

from pathlib import Path

import pytest
from written_study import Written

from study.commands import main
from study.storage.ledger import StudyFolder


@pytest.fixture(autouse=True)
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


@pytest.mark.parametrize("option", ["--images", "--estimate"])
def test_what_belongs_to_a_check_is_refused_without_it(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quickstart", option]) == 2
    assert f"{option} belongs to --check" in capsys.readouterr().err
