"""A command that is asked to end, or whose output cannot be written."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from study.commands.console import print_json
from study.commands.main import main
from study.commands.signals import handle_signals, interrupt
from tests.commands.conftest import reacting


@pytest.fixture(autouse=True)
def in_front() -> Iterator[None]:
    """Let no signal be ignored, as they are where tests are started in the background."""
    with reacting():
        yield


@pytest.mark.parametrize("ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGHUP])
def test_kill_and_a_terminal_that_goes_away_interrupt_as_ctrl_c_does(
    name: signal.Signals, ctrl_c: Any
):
    before = signal.getsignal(name)
    listening = signal.signal(signal.SIGINT, ctrl_c)  # ignored by what a script starts with &
    try:
        with pytest.raises(KeyboardInterrupt), handle_signals(interrupt):
            signal.raise_signal(name)
    finally:
        signal.signal(signal.SIGINT, listening)
    assert signal.getsignal(name) is before


HUNG_UP = """
import os, pty, sys, time
from pathlib import Path

child, terminal = pty.fork()
if child == 0:
    import signal
    from rich.console import Console
    from study.commands.signals import handle_signals, interrupt

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with handle_signals(interrupt):
            print("ready", flush=True)
            time.sleep(60)
    except KeyboardInterrupt:
        with Console().status("sending the rest"):
            print("interrupted", file=sys.stderr, flush=True)
        Path(sys.argv[1]).write_text("closed")
    os._exit(0)
assert b"ready" in os.read(terminal, 100)
os.close(terminal)
os.waitpid(child, 0)
"""


def test_a_study_can_be_closed_after_its_terminal_is_gone(tmp_path: Path):
    closed = tmp_path / "closed"
    subprocess.run([sys.executable, "-c", HUNG_UP, str(closed)], check=True)
    assert closed.read_text() == "closed"


INTERRUPTING = """
import builtins, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
real = builtins.__import__
def importing(name, *arguments, **options):
    if name.startswith({module!r}) and name not in sys.modules:
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *arguments, **options)
builtins.__import__ = importing
sys.argv = ["clipfit-study", "quickstart", "--check"]
import runpy
{start}
"""
"""A process to which Ctrl-C comes just before it imports a module."""
MODULE = "runpy.run_module('study', run_name='__main__', alter_sys=True)"
ROOT = Path(__file__).parents[2]
SCRIPT = f"runpy.run_path({str(ROOT / 'study' / 'run.py')!r}, run_name='__main__')"


@pytest.mark.parametrize(
    "start, module", [(MODULE, "argparse"), (MODULE, "torch"), (SCRIPT, "torch")]
)
def test_ctrl_c_while_modules_load_is_one_line(start: str, module: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTING.format(module=module, start=start)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("interrupted\n", 130)
    assert not any(tmp_path.iterdir())


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


def test_a_number_that_is_not_finite_is_null(capsys: pytest.CaptureFixture[str]):
    print_json([{"score_mean": float("nan")}, float("inf")])
    assert "".join(capsys.readouterr().out.split()) == '[{"score_mean":null},null]'
