"""The folder of results: what is private stays out, and what was changed is refused by name."""

import getpass
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from study.errors import DataError
from study.workflow.reproduction.result_folder import (
    RECORD,
    plain_line,
    publish,
    read_record,
    without_private,
)
from tests.workflow.reproduction.test_record import WHOLE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of two files beside its checksums."""
    folder = tmp_path / "results"
    folder.mkdir()
    publish(folder, {RECORD: WHOLE.model_dump_json(), "one.csv": "a,b\n"})
    return folder


def test_what_was_written_can_be_read_and_written_again(folder: Path):
    assert read_record(folder) == WHOLE
    publish(folder, {"one.csv": "a,c\n"})
    assert read_record(folder) == WHOLE
    assert len((folder / "sha256.txt").read_text().splitlines()) == 2


HOSTILE = WHOLE.model_dump_json()[:-1] + ',"\\u001b[1m": 1}'
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda at: (at / "one.csv").write_text("a,d\n"), "'one.csv' was changed"),
    "missing": (lambda at: (at / "one.csv").unlink(), "'one.csv' was changed or is missing"),
    "further": (lambda at: (at / "x[red].md").write_text(""), r"'x\[red\].md' has no checksum"),
    "link": (lambda at: (at / "l").symlink_to("/etc/passwd"), "'l' is a link"),
    "pipe": (lambda at: os.mkfifo(at / "p"), "'p' is a link, a folder or no plain file"),
    "huge": (lambda at: os.truncate(at / "one.csv", 1 << 40), "'one.csv' is too much"),
    "many": (lambda at: _add_large(at, 5), "'large-4' is too much"),
    "control": (lambda at: (at / "a\x1b[1m").write_text(""), r"'a\\x1b\[1m' has no checksum"),
    "deleted": (shutil.rmtree, "is no folder"),
    "no record": (lambda at: publish(at, {RECORD: "[1"}), f"'{RECORD}' has a fault at"),
    "hostile": (lambda at: publish(at, {RECORD: HOSTILE}), r"\\x1b\[1m',\): Extra"),
}


def _add_large(folder: Path, count: int) -> None:
    for number in range(count):
        path = folder / f"large-{number}"
        path.touch()
        os.truncate(path, 1 << 24)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_with_another_file_is_refused_by_the_name_of_that(damage: str, folder: Path):
    do, told = DAMAGE[damage]
    do(folder)
    with pytest.raises(DataError, match=told):
        read_record(folder)


def test_what_is_private_is_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")
    monkeypatch.setattr(socket, "gethostname", lambda: "node-7")
    text = (
        f"node-7: alice has no {Path.home()}/My CLIP/model.bin, nor /data/secret/split.json of "
        "https://alice:pw@hub.org/a?token=abc at 10.1.2.3 (~/x/y, /mnt/alice)\n\x1b[31mred"
    )
    assert plain_line(text) == (
        "…: … has no My CLIP/model.bin, nor …/split.json of https://***@hub.org/a?token=*** at … "
        "(…, …) [31mred"
    )
    kept = "| text.mlp.fc2.bias | base/new | 2.13.0+cu128 | https://a.org/b/c |"
    assert without_private(kept) == kept
    assert without_private(without_private("see /a/b.json")) == "see …/b.json"
