"""The command ``extend``."""

from pathlib import Path

import pytest

from study.commands import main
from study.storage.study_folder import CANDIDATES, REGISTERED, Registration
from tests.written_study import Written


def test_a_study_that_cannot_go_on_is_not_extended(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = Written(here / "runs", "done")
    written.folder.write_json(CANDIDATES, [])
    written.folder.write_json(REGISTERED, Registration("letters", "3", True, "first"))
    written.conclude()
    before = {path: path.read_bytes() for path in written.folder.path.iterdir() if path.is_file()}
    away = "tracking.uri=sqlite:///away/mlflow.db"
    assert main(["extend", "done", "search.trials=+2", away]) == 2
    assert "away" in capsys.readouterr().err
    (written.folder.path / ".lock").unlink()
    assert {p: p.read_bytes() for p in written.folder.path.iterdir() if p.is_file()} == before
