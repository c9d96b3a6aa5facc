"""An MLflow server of a test's own, which can be killed and started again, and what asks it."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import pytest

from tests.ports import free_port

HOST = "127.0.0.1"
STARTS_WITHIN, ENDS_WITHIN = 240.0, 30.0
"""How many seconds a server may take to answer, and to end when asked."""


class TrackingServer:
    """An MLflow server on a free loopback port, with its database and artifacts in a folder."""

    def __init__(self, folder: Path):
        port = free_port()
        self.address = f"http://{HOST}:{port}"
        self.database = folder / "mlflow.db"
        self._log = folder / "server.log"
        self._command = [sys.executable, "-m", "mlflow", "server", "--host", HOST]
        self._command += ["--port", str(port), "--workers", "1"]
        self._command += ["--backend-store-uri", f"sqlite:///{self.database}"]
        self._command += ["--artifacts-destination", str(folder / "artifacts")]
        folder.mkdir(parents=True, exist_ok=True)

    def start(self):
        """Start the server, and return when it answers.

        Raises:
            RuntimeError: the server ends, or does not answer in time.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.database.parent,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTS_WITHIN
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                lines = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the MLflow server does not answer:\n{lines}")
            time.sleep(0.25)

    def answers(self) -> bool:
        """Return whether the server answers."""
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                return True
        except OSError:
            return False

    def stop(self):
        """Ask the server to end, and wait until it has."""
        self._process.terminate()
        self._process.wait(timeout=ENDS_WITHIN)

    def kill(self):
        """Kill the server with its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def mlflow_at(uri: str) -> Iterator[None]:
    """Let MLflow's own functions ask this server."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        # MLflow sets it too, and commands that later tests start would obey it.
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)
