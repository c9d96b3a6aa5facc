"""The command ``refit``."""

from pathlib import Path

import pytest

from study.storage.study_folder import CANDIDATES
from tests.workflow.conftest import Run
from tests.written_study import Written


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["refit.images=pool", "tracking.uri=sqlite:///away/mlflow.db"], "away"),
        (["refit.images=shots"], "already"),
        (["search.trials=+2"], "refit takes refit.images"),
    ],
)
def test_a_study_that_cannot_be_refitted_stays_as_it_is(
    here: Path, run: Run, words: list[str], told: str
) -> None:
    written = Written(here / "runs", "done")
    written.folder.write_json(CANDIDATES, [])
    written.conclude()
    folder = written.folder.path
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    ran = run("refit", "done", *words)
    assert (ran.code, told in ran.err) == (2, True), ran.err
    (folder / ".lock").unlink()
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
