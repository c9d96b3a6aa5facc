"""Files of another format are refused by their number, and those that are written have one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from study.config.loading import build_config, dump_config, load_config
from study.errors import FormatError
from study.method.delta import DeltaInfo, load_delta, save_delta
from study.storage.study_folder import StudyFolder


def in_identity(path: Path, number: str) -> Callable[[], object]:
    folder = StudyFolder(path)
    folder.create("", {})
    assert folder.read_json("identity.json")["format"] == 2
    values = {"study_id": "0", **({"format": json.loads(number)} if number else {})}
    folder.write_json("identity.json", values)
    return folder.read_identity


def in_config(path: Path, number: str) -> Callable[[], object]:
    text = dump_config(build_config({"name": "mine"}, "test"))
    assert text.startswith("format: 2\n")
    rest = text.removeprefix("format: 2\n")
    path.write_text(f"format: {number}\n{rest}" if number else rest)
    return lambda: load_config(path, frozen=True)


def in_delta(path: Path, number: str) -> Callable[[], object]:
    save_delta(path, {}, DeltaInfo("tiny", None, "0" * 16, "none", ("cat",), ("{}",)))
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
    assert metadata["format"] == "clipfit-delta-2"
    save_file(load_file(path), path, {**metadata, "format": f"clipfit-delta-{number}"})
    return lambda: load_delta(path)


@pytest.mark.parametrize(
    "write, number, has",
    [
        (in_identity, "1", "format 1"),
        (in_identity, "true", "format True"),
        (in_identity, "", "no format number"),
        (in_config, "1", "format 1"),
        (in_config, "", "no format number"),
        (in_delta, "1", "format 1"),
    ],
)
def test_a_file_of_another_format_is_refused(
    tmp_path: Path, write: Callable[[Path, str], Callable[[], object]], number: str, has: str
):
    read = write(tmp_path / "mine", number)
    with pytest.raises(FormatError, match=f"mine.* has {has}; this version .*reads only format 2"):
        read()
