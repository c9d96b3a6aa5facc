"""The command ``delete``."""

import json
import os
import pty
from pathlib import Path

import pytest

from study.commands import main
from study.storage.study_folder import REGISTERED, Registration, StudyFolder, studies


def test_delete_without_a_terminal_refuses_and_says_what_there_is(
    mine: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.write_json(REGISTERED, Registration("letters", "3", True, "first"))
    assert main(["delete", "mine"]) == 2
    said = capsys.readouterr()
    assert "2 trials, " in said.out
    assert f"study_id = '{mine.read_identity()['study_id']}'" in said.out
    assert "models:/letters/3" in said.out
    assert "--yes" in said.err
    assert mine.exists()


@pytest.mark.parametrize(("answer", "kept"), [("y\n", False), ("\n", True), ("\x04", True)])
def test_delete_asks_on_a_terminal(
    mine: StudyFolder, monkeypatch: pytest.MonkeyPatch, answer: str, kept: bool
) -> None:
    above, below = pty.openpty()
    with os.fdopen(below) as terminal, os.fdopen(above, "w") as user:
        user.write(answer)
        user.flush()
        monkeypatch.setattr("sys.stdin", terminal)
        assert main(["delete", "mine"]) == 0
    assert mine.exists() == kept
    assert [path.name for path in mine.path.parent.iterdir()] == ["mine"] * kept


def test_delete_takes_a_study_that_cannot_be_read(
    mine: StudyFolder, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine.path / "identity.json").write_text("{")
    assert main(["delete", "runs/mine", "--yes"]) == 0
    assert "damaged" in capsys.readouterr().out
    assert not any((here / "runs").iterdir())


def test_a_study_that_runs_is_not_deleted(
    mine: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with mine.locked():
        assert main(["delete", "mine", "--yes"]) == 2
    assert "run by another process" in capsys.readouterr().err
    assert mine.exists()


def test_what_is_deleted_in_part_is_no_study(
    mine: StudyFolder,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # as where files may not be removed
    assert main(["delete", "mine", "--yes"]) == 2
    assert "delete the folder" in capsys.readouterr().err
    (left,) = (here / "runs").iterdir()
    assert StudyFolder(left).exists()
    assert studies(here / "runs") == []
    capsys.readouterr()
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
