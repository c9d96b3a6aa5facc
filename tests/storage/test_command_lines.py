"""A command that a message prints works when it is pasted into a shell."""

import shlex
from pathlib import Path

import pytest

from study.commands.find import find_study
from study.storage.command_lines import study_command
from study.storage.study_folder import StudyFolder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STUDY_STORAGE", raising=False)
    return tmp_path


def test_a_study_of_the_default_storage_is_named_alone(here: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in (Path("runs/mine"), here / "runs" / "mine"):
        assert study_command("resume", folder) == "clipfit-study resume mine"
    monkeypatch.setenv("STUDY_STORAGE", str(here / "others"))
    assert study_command("sync", Path("others/mine")) == "clipfit-study sync mine"
    assert study_command("sync", Path("runs/mine")) == f"clipfit-study sync {here}/runs/mine"


@pytest.mark.parametrize("name", ["a b", "it's", "~x", "-x", "line\nbreak", "$HOME"])
def test_a_study_of_another_storage_is_found_by_what_is_pasted(here: Path, name: str):
    folder = StudyFolder(here / name / "mine")
    folder.create("seed: 1\n", {})
    command = study_command("extend", Path(name) / "mine", "search.trials=+50")
    *words, found, trials = shlex.split(command)
    assert words == ["clipfit-study", "extend"]
    assert find_study(found).path.resolve() == folder.path
    assert trials == "search.trials=+50"
