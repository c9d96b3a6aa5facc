"""A study that is asked to end: by a closed terminal and by `kill`."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from study.commands.signals import LastingConsole, handle_hang_up, hold_back_signals, interrupt
from tests.reacting import reacting


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
        with pytest.raises(KeyboardInterrupt), handle_hang_up(interrupt):
            signal.raise_signal(name)
    finally:
        signal.signal(signal.SIGINT, listening)
    assert signal.getsignal(name) is before


def test_what_is_to_outlive_its_terminal_does():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with handle_hang_up(interrupt):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


HUNG_UP = """
import os, pty, sys, time
from pathlib import Path

child, terminal = pty.fork()
if child == 0:
    import signal
    from rich.console import Console
    from study.commands.signals import handle_hang_up, interrupt

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with handle_hang_up(interrupt):
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


def test_printing_goes_nowhere_once_its_reader_is_gone():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as file:
        console = LastingConsole(file=file)
        console.print("read")
        assert os.read(reader, 10) == b"read\n"
        os.close(reader)
        console.print("not read")
        print("nor this", file=file, flush=True)


@pytest.mark.parametrize(
    "ctrl_c, hint",
    [
        (signal.default_int_handler, "; Ctrl-C ends it without sending what is left"),
        (signal.SIG_IGN, ""),
    ],
)
@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_ending_already_ends_in_its_own_time(
    name: signal.Signals, ctrl_c: Any, hint: str, caplog: pytest.LogCaptureFixture
):
    done = []
    signal.signal(signal.SIGINT, ctrl_c)

    def close():
        with hold_back_signals("it is ending"):
            signal.raise_signal(name)
            done.append("closed")

    with handle_hang_up(interrupt), pytest.raises(KeyboardInterrupt):
        close()
    assert done == ["closed"]
    assert caplog.messages == [f"it is ending{hint}"]
