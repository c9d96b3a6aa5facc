"""What was written in another format is refused by its number, and what is written has one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from study.commands import main
from study.config.loading import build_config, dump_config
from study.method.delta import DeltaInfo, save_delta
from study.storage.study_folder import StudyFolder

INFO = DeltaInfo("tiny", None, "0" * 16, "none", ("cat",), ("{}",))


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "runs" / "mine")
    folder.create(dump_config(build_config({"name": "mine"}, "test")), {})
    return folder


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    path = tmp_path / "delta.safetensors"
    save_delta(path, {}, INFO)
    return path


def header(delta: Path) -> dict[str, str]:
    with safe_open(delta, "pt") as file:
        return dict(file.metadata())


def test_each_file_begins_with_the_number(folder: StudyFolder, delta: Path) -> None:
    identity = json.loads((folder.path / "identity.json").read_text())
    assert next(iter(identity.items())) == ("format", 1)
    assert folder.config_path.read_text().startswith("format: 1\n")
    assert header(delta)["format"] == "clipfit-delta-1"


def change_identity(folder: StudyFolder, numbers: dict[str, Any]) -> None:
    folder.write_json("identity.json", {"study_id": "0", **numbers})


def change_configuration(folder: StudyFolder, numbers: dict[str, Any]) -> None:
    values = yaml.safe_load(folder.config_path.read_text())
    del values["format"]
    folder.write_config(yaml.safe_dump({**values, **numbers}))


@pytest.mark.parametrize(
    ("numbers", "has"),
    [
        ({"format": 2}, "format 2"),
        ({"format": 0}, "format 0"),
        ({"format": True}, "format True"),
        ({}, "no format number"),
    ],
)
@pytest.mark.parametrize(
    ("name", "change"),
    [("identity.json", change_identity), ("study.yaml", change_configuration)],
)
@pytest.mark.parametrize("command", ["status", "report"])
def test_a_study_of_another_format_is_refused(
    folder: StudyFolder,
    capsys: pytest.CaptureFixture[str],
    command: str,
    name: str,
    change: Callable[[StudyFolder, dict[str, Any]], None],
    numbers: dict[str, Any],
    has: str,
) -> None:
    change(folder, numbers)
    assert main([command, str(folder.path)]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert f"{folder.path / name} has {has}, and" in message
    assert "reads format 1;" in message


@pytest.mark.parametrize("number", ["2", "0", ""])
def test_a_delta_of_another_format_is_refused(
    delta: Path, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    metadata = {**header(delta), "format": f"clipfit-delta-{number}"}
    save_file(load_file(delta), delta, metadata)
    out = str(delta.with_name("out"))
    assert main(["export", str(delta), "--format", "hf", "--out", out]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert f"{delta} has format {number}, and" in message
    assert "reads format 1;" in message


def test_a_configuration_of_a_study_is_read_as_any_other(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(folder.config_path), "--check", "name=again"]) == 0
    folder.config_path.write_text("format: 2\n")
    assert main(["run", str(folder.config_path), "--check", "name=again"]) == 2
    assert "has format 2" in capsys.readouterr().err
