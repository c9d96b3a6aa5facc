"""An MLflow server of a test's own, which can be killed and started again."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.free_port import free_port

HOST = "127.0.0.1"
STARTS_WITHIN = 240.0
"""How many seconds a server may take to answer."""
ENDS_WITHIN = 30.0
"""How many seconds a server may take to end when asked."""


class TrackingServer:
    """An MLflow server on a free loopback port, with its database and artifacts in a folder."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self.database = folder / "mlflow.db"
        self.artifacts = folder / "artifacts"
        self.log = folder / "server.log"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        """The address of the server."""
        return f"http://{HOST}:{self.port}"

    def start(self):
        """Start the server, and return when it answers.

        Raises:
            RuntimeError: the server ends, or does not answer in time.
        """
        command = [sys.executable, "-m", "mlflow", "server", "--host", HOST]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.database}"]
        command += ["--artifacts-destination", str(self.artifacts)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.database.parent,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + STARTS_WITHIN
        while not self.answers():
            if self._process.poll() is not None:
                raise RuntimeError(f"the MLflow server ended:\n{self._last_lines()}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the MLflow server does not answer:\n{self._last_lines()}")
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
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _last_lines(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]
