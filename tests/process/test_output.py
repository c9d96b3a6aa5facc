"""A command whose output cannot be written ends in silence or in one line."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from study.commands.main import main
from tests.case_tables import from_table


@from_table
def test_output_that_nobody_reads_any_more_ends_a_command_in_silence(
    words: list[str], unbuffered: str, tmp_path: Path
):
    above, below = os.pipe()
    os.close(above)
    with os.fdopen(below, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "study", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert done.stderr == b""
    assert done.returncode in (0, 128 + signal.SIGPIPE)


@from_table
def test_output_that_is_closed_is_discarded_and_a_full_disk_is_one_line(
    words: list[str], unbuffered: str, tmp_path: Path
):
    command = " ".join([sys.executable, "-m", "study", *words])
    for output, code, lines in ((">&-", 0, 0), (">&- <&-", 0, 0), (">/dev/full", 2, 1)):
        done = subprocess.run(
            ["sh", "-c", f"exec {command} {output}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (code, lines), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_an_output_lacks_are_written_as_codes(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert main(["run", "quickstart", "--check"]) == 0
    assert "\\u201ca photo of the digit zero.\\u201d" in written.getvalue().decode(encoding)


def test_another_pipe_that_breaks_is_no_silence(monkeypatch: pytest.MonkeyPatch):
    def fail(_: object):
        raise BrokenPipeError("of a server")

    monkeypatch.setattr("study.storage.study_folder.studies", fail)
    with pytest.raises(BrokenPipeError, match="of a server"):
        main(["list"])
