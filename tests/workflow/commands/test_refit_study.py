"""The command ``refit``."""

from pathlib import Path

from study.storage.study_folder import CANDIDATES
from tests.workflow.conftest import Run
from tests.written_study import Written


def test_a_study_that_cannot_go_on_is_not_refitted(here: Path, run: Run) -> None:
    written = Written(here / "runs", "done")
    written.folder.write_json(CANDIDATES, [])
    written.conclude()
    folder = written.folder.path
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    ran = run("refit", "done", "refit.images=pool", "tracking.uri=sqlite:///away/mlflow.db")
    assert (ran.code, "away" in ran.err) == (2, True)
    (folder / ".lock").unlink()
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
