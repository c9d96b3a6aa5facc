"""A command whose output nobody reads any more ends in silence."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from study.commands import main
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


def test_another_pipe_that_breaks_is_no_silence(monkeypatch: pytest.MonkeyPatch):
    def fail(_: object):
        raise BrokenPipeError("of a server")

    monkeypatch.setattr("study.workflow.commands.list_studies.list_studies", fail)
    with pytest.raises(BrokenPipeError, match="of a server"):
        main(["list"])
