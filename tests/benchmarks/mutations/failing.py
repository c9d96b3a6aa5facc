"""Runs tests of a checkout until one fails, each time in a process that is forked from this one."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

TEST_SECONDS = 100
"""A test that takes longer has caught an endless loop."""
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
"""What is set before libraries are imported, as in conftest.py; no bytecode of a mutant stays."""
ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of Linux


class Suite:
    """Tests of a checkout, each set of them in a process that is forked from this one."""

    def __init__(self, checkout: Path, preload: list[str]) -> None:
        self.checkout = checkout
        self._passes: dict[str, bool] = {}
        os.environ.update({**QUIET, "PYTHONPATH": str(checkout)})
        sys.dont_write_bytecode = True
        ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1)
        for name in preload:
            importlib.import_module(name)

    def first_failure(self, files: list[str], tests: list[str], seconds: float) -> str | None:
        """Return the first test that fails: of some tests, or else of whole files.

        Tests that overrun the seconds have failed, whole files have not. Left out are tests that
        were seen to fail in the checkout as it is.
        """
        present = []
        for file in files:
            readable = self._passes.get(file, True)
            if readable and (self.checkout / file).exists():
                present.append(file)
        if not present:
            return None
        with tempfile.NamedTemporaryFile("r") as events:
            child = os.fork()
            if child == 0:
                self._test(present, tests, events.name)
            code = _wait(child, time.monotonic() + seconds)
            lines = events.read().splitlines()
        for line in lines:
            if line.startswith("failed "):
                return line.removeprefix("failed ")
        if code is None:
            running = lines[-1] if lines else "collection"
            return f"time limit: {running}" if tests else None
        return None if code in (0, 5) else f"exit code {code} of pytest"

    def passes(self, test: str) -> bool:
        """Return whether a test passes in the checkout as it is."""
        if "::" not in test and not test.endswith(".py"):
            return True  # a time limit or an exit code
        if test not in self._passes:
            file = test.split("::")[0]
            self._passes[test] = self.first_failure([file], [test], 600) is None
        return self._passes[test]

    def _test(self, files: list[str], tests: list[str], events: str) -> None:
        import pytest

        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.argv = ["pytest"]
        os.chdir(self.checkout)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        failing = {test for test, passes in self._passes.items() if not passes}
        alone = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
        limits = ["--rootdir", ".", "--timeout", str(TEST_SECONDS)]
        with Path(events).open("w", buffering=1) as stream:
            watch = _Watch(tests, failing, stream)
            os._exit(pytest.main([*alone, *limits, *files], plugins=[watch]))


class _Watch:
    """A plugin of pytest: orders tests, and writes which one runs and which one failed."""

    def __init__(self, tests: list[str], failing: set[str], stream: Any) -> None:
        self._failing = failing
        self._order = {test: index for index, test in enumerate(tests)}
        self._stream = stream

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if item.nodeid not in self._failing]
        if self._order:
            items[:] = [item for item in items if item.nodeid in self._order]
            items.sort(key=lambda item: self._order[item.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        print(nodeid, file=self._stream)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            print("failed", report.nodeid, file=self._stream)

    pytest_collectreport = pytest_runtest_logreport


def _wait(child: int, deadline: float) -> int | None:
    """Return a child's exit code, or None past the deadline; leave no process that it started."""
    code = None
    try:
        while code is None and time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.05)
    finally:
        left = psutil.Process().children(recursive=True)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)
    return code
