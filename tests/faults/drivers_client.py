"""Studies as processes of `drivers.py`, one after the other."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil


class Drivers:
    """Processes of studies, one after the other.

    Args:
        prefix: a command that executes the command line after it, such as ``env NAME=VALUE``.
    """

    def __init__(self, prefix: Sequence[str] = ()):
        self._server = subprocess.Popen(
            [*prefix, sys.executable, str(Path(__file__).with_name("drivers.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def run(
        self,
        arguments: list[str],
        place: Path,
        *,
        wait: float | None = None,
        environment: Mapping[str, str] | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> tuple[int, str]:
        """Run a study until it ends; give its exit status and its output.

        Args:
            arguments: of the command line.
            place: its working folder.
            wait: how long it and its workers wait for storage that is away, in seconds.
            environment: variables; without MLflow's address, its store is in the working folder.
            meanwhile: is called once it runs.
        """
        variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{place / 'mlflow.db'}"}
        variables |= environment or {}
        order: dict[str, object] = {"arguments": arguments, "place": str(place), "wait": wait}
        order |= {"output": str(place / "output"), "environment": variables}
        assert self._server.stdin is not None
        print(json.dumps(order), file=self._server.stdin, flush=True)
        pid = int(self._line())
        try:
            meanwhile()
            status = int(self._line())
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            self._line()
            raise
        return status, (place / "output").read_text()

    def running(self) -> psutil.Process | None:
        """The study that runs now."""
        children = psutil.Process(self._server.pid).children()
        return children[0] if children else None

    def close(self):
        """End the process that the studies are forks of, and a study that still runs."""
        if (study := self.running()) is not None:
            study.kill()
        self._server.communicate()

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()
