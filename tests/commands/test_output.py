"""A command whose output cannot be written ends in silence or in one line."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from study.commands.main import main
from study.commands.output import lasting_console, print_json


@pytest.mark.parametrize("words", [["--help"], ["list"]], ids=" ".join)
def test_output_that_nobody_reads_any_more_ends_a_command_in_silence(
    words: list[str], tmp_path: Path
):
    above, below = os.pipe()
    os.close(above)
    command = [sys.executable, "-m", "study", *words]
    with os.fdopen(below, "w") as pipe:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert done.stderr == b""
    assert done.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    "output, code, lines", [(">&-", 0, 0), (">&- <&-", 0, 0), (">/dev/full", 2, 1)]
)
def test_output_that_is_closed_is_discarded_and_a_full_disk_is_one_line(
    output: str, code: int, lines: int, tmp_path: Path
):
    command = ["sh", "-c", f"exec {sys.executable} -m study list {output}"]
    done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, lines), done.stderr
    assert "Traceback" not in done.stderr


def test_characters_that_an_output_lacks_are_written_as_codes(monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["config", "quickstart", "data.templates=['{} →']"]) == 0
    assert "\\u2192" in written.getvalue().decode("ascii")


def test_another_pipe_that_breaks_is_no_silence(monkeypatch: pytest.MonkeyPatch):
    def fail(_: object):
        raise BrokenPipeError("of a server")

    monkeypatch.setattr("study.storage.study_folder.studies", fail)
    with pytest.raises(BrokenPipeError, match="of a server"):
        main(["list"])


def test_printing_goes_nowhere_once_its_reader_is_gone():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as file:
        console = lasting_console(file=file)
        console.print("read")
        assert os.read(reader, 10) == b"read\n"
        os.close(reader)
        console.print("not read")
        print("nor this", file=file, flush=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_null(value: float, capsys: pytest.CaptureFixture[str]):
    print_json([{"score_mean": value}])
    assert "".join(capsys.readouterr().out.split()) == '[{"score_mean":null}]'
