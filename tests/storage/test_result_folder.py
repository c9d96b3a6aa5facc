"""Files of another format are refused by their number, and those that are written have one."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from study.commands.main import main
from study.config.loading import build_config, dump_config
from study.method.delta import DeltaInfo, save_delta
from study.storage.study_folder import StudyFolder


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "runs" / "mine")
    folder.create(dump_config(build_config({"name": "mine"}, "test")), {})
    return folder


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that is refused; return its message on one line."""
    assert main(list(words)) == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("number, has", [("1", "format 1"), ("true", "format True"), ("", "no fo")])
@pytest.mark.parametrize("name", ["identity.json", "study.yaml"])
def test_a_study_of_another_format_is_refused(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str], name: str, number: str, has: str
):
    if name == "identity.json":
        values = {"study_id": "0", **({"format": json.loads(number)} if number else {})}
        folder.write_json(name, values)
    else:
        given = folder.config_path.read_text().removeprefix("format: 2\n")
        folder.write_config(f"format: {number}\n{given}" if number else given)
    message = refusal(capsys, "status", str(folder.path))
    assert f"{folder.path / name} has {has}" in message
    assert "reads format 2;" in message


def test_every_command_refuses_a_study_of_1_0_0_in_one_sentence(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
):
    assert json.loads((folder.path / "identity.json").read_text())["format"] == 2
    folder.write_json("identity.json", {"format": 1, "study_id": "0"})
    folder.write_config(folder.config_path.read_text().replace("format: 2", "format: 1"))
    lines = "resume", "extend search.trials=+8", "leaderboard", "report", "sync"
    for line in (*lines, "export --format hf --out out"):
        command, *options = line.split()
        message = refusal(capsys, command, str(folder.path), *options)
        assert message.count("has format 1, and this version of clipfit-study reads format 2;") == 1
        assert "MLflow" not in message
    assert main(["list", "--json", f"storage={folder.path.parent}"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "other format"


@pytest.mark.parametrize("number", ["1", ""])
def test_a_delta_of_another_format_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str
):
    delta = tmp_path / "delta.safetensors"
    save_delta(delta, {}, DeltaInfo("tiny", None, "0" * 16, "none", ("cat",), ("{}",)))
    with safe_open(delta, "pt") as file:
        metadata = dict(file.metadata())
    assert metadata["format"] == "clipfit-delta-2"
    save_file(load_file(delta), delta, {**metadata, "format": f"clipfit-delta-{number}"})
    words = "export", str(delta), "--format", "hf", "--out", str(tmp_path / "out")
    assert f"{delta} has format {number}, and" in refusal(capsys, *words)
