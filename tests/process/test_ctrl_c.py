"""Ctrl-C while modules load is one line and exit code 130, and no traceback."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from study.process.ctrl_c import exit_at_ctrl_c

INTERRUPTING = """
import builtins, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
real = builtins.__import__
def importing(name, *arguments, **options):
    if name.startswith({module!r}) and name not in sys.modules:
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *arguments, **options)
builtins.__import__ = importing
sys.argv = ["clipfit-study", *{words!r}]
import runpy
{start}
"""
"""A process to which Ctrl-C comes just before it imports a module."""
MODULE = "runpy.run_module('study', run_name='__main__', alter_sys=True)"
ROOT = Path(__file__).parents[2]
SCRIPT = f"runpy.run_path({str(ROOT / 'study' / 'run.py')!r}, run_name='__main__')"


@pytest.mark.parametrize(
    "start, module",
    [
        *((MODULE, name) for name in ("argparse", "study.commands.arguments", "torch")),
        (SCRIPT, "torch"),
    ],
)
def test_ctrl_c_while_modules_load_is_one_line(start: str, module: str, tmp_path: Path):
    words = ["quickstart", "--check"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTING.format(module=module, words=words, start=start)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == "interrupted\n"
    assert done.returncode == 130
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_ctrl_c_is_heard_or_ignored_afterwards_as_before(handler: Any):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with exit_at_ctrl_c():
            during = signal.getsignal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is handler
        assert (during is handler) == (handler is signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_may_load_modules_too():
    loaded = []

    def load():
        with exit_at_ctrl_c():
            loaded.append(True)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert loaded == [True]
