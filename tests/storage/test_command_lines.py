"""A command that a message prints works when it is pasted into a shell."""

import shlex
from pathlib import Path

import pytest

from study.config.yaml_values import parse_overrides
from study.storage.command_lines import study_command

FOLDERS = [
    *("elsewhere", "2024", "a b", "it's", "a: b", "# no comment", "[x]", "true", "~", "~x", "-x"),
    *("a=b", 'a"b', "ünïcode", "tab\tin it", "line\nbreak", "a\\b", "$HOME", "{a}"),
]
"""Names of storages that a shell, YAML or a reader of options would take for something else."""


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
    assert study_command("sync", Path("runs/mine")) == "clipfit-study sync mine storage=./runs"


@pytest.mark.parametrize("name", [*FOLDERS, "."])
@pytest.mark.parametrize("below", [".", "work"])
def test_the_storage_of_another_is_read_back_from_what_is_pasted(
    here: Path, name: str, below: str, monkeypatch: pytest.MonkeyPatch
):
    storage = here / name
    storage.mkdir(exist_ok=True)
    (here / below).mkdir(exist_ok=True)
    monkeypatch.chdir(here / below)
    command = study_command("extend", storage / "mine", "search.trials=+50")
    *words, override, trials = shlex.split(command)
    assert words == ["clipfit-study", "extend", "mine"]
    assert trials == "search.trials=+50"
    assert Path(parse_overrides([override])["storage"]).resolve() == storage
