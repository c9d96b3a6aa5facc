"""A command that a message prints works when it is pasted into a shell."""

import shlex
from pathlib import Path

import pytest

from study.commands.find import find_study
from study.storage.command_lines import study_command
from study.storage.study_folder import StudyFolder


@pytest.mark.parametrize("name", ["runs", "a b", "it's", "~x", "-x", "$HOME"])
def test_a_study_is_found_by_what_is_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STUDY_STORAGE", raising=False)
    folder = StudyFolder(tmp_path / name / "mine")
    folder.create("seed: 1\n", {})
    command = study_command("extend", Path(name) / "mine", "search.trials=+50")
    *words, found, trials = shlex.split(command)
    assert (words, trials) == (["clipfit-study", "extend"], "search.trials=+50")
    assert find_study(found).path.resolve() == folder.path
    for storage in ("runs", name):  # in the default storage, a name is enough
        monkeypatch.setenv("STUDY_STORAGE", storage)
        is_short = shlex.split(study_command("sync", folder.path))[-1] == "mine"
        assert is_short is (storage == name)
