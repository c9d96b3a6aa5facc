"""The command ``delete``."""

import json
import os
import pty

import pytest

from study.storage.study_folder import REGISTERED, Registration, StudyFolder, studies
from tests.case_tables import from_table
from tests.workflow.conftest import Run


def test_delete_without_a_terminal_refuses_and_says_what_there_is(mine: StudyFolder, run: Run):
    mine.write_json(REGISTERED, Registration("letters", "3", True, "first"))
    ran = run("delete", "mine")
    identity = mine.read_identity()["study_id"]
    for part in ("2 trials, ", f"study_id = '{identity}'", "models:/letters/3"):
        assert part in ran.out
    assert (ran.code, "--yes" in ran.err, mine.exists()) == (2, True, True)


@from_table
def test_delete_asks_on_a_terminal(
    mine: StudyFolder, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, kept: bool
):
    above, below = pty.openpty()
    with os.fdopen(below) as terminal, os.fdopen(above, "w") as user:
        user.write(answer)
        user.flush()
        monkeypatch.setattr("sys.stdin", terminal)
        assert run("delete", "mine").code == 0
    assert [path.name for path in mine.path.parent.iterdir()] == ["mine"] * kept


def test_delete_takes_a_study_that_cannot_be_read(mine: StudyFolder, run: Run):
    (mine.path / "identity.json").write_text("{")
    ran = run("delete", "runs/mine", "--yes")
    assert (ran.code, "damaged" in ran.out) == (0, True)
    assert not any(mine.path.parent.iterdir())


def test_a_study_that_runs_is_not_deleted(mine: StudyFolder, run: Run):
    with mine.locked():
        ran = run("delete", "mine", "--yes")
    assert (ran.code, mine.exists()) == (2, True)
    assert "run by another process" in ran.err


def test_what_is_deleted_in_part_is_no_study(
    mine: StudyFolder, run: Run, monkeypatch: pytest.MonkeyPatch
):
    storage = mine.path.parent
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # as where files may not be removed
    assert "delete the folder" in run("delete", "mine", "--yes").err
    (left,) = storage.iterdir()
    assert StudyFolder(left).exists()
    assert studies(storage) == json.loads(run("list", "--json").out) == []
