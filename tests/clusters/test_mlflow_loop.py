"""The shell's loop that keeps MLflow alive on the head of a cluster."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.clusters.conftest import wait_for
from tests.free_port import free_port

NODE = Path(__file__).parents[2] / "clusters" / "node.sh"

pytestmark = pytest.mark.long


class Head:
    """A home folder in which `node.sh` serves MLflow on a free port."""

    def __init__(self, home: Path):
        self.port = free_port()
        self.home = home
        programs = home / ".clipfit" / "bin"
        programs.mkdir(parents=True)
        python = programs / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)

    def node(self, *words: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "HOME": str(self.home), "MLFLOW_PORT": str(self.port)}
        return subprocess.run(
            ["bash", str(NODE), *words], env=environment, capture_output=True, text=True
        )

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except OSError:
            return False

    def servers(self) -> list[int]:
        """Return the process ids of the servers, without their workers and the loop."""
        database = f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"
        running = psutil.process_iter(["cmdline"])
        words = {process.pid: process.info["cmdline"] or () for process in running}
        return [pid for pid, own in words.items() if database in own and "mlflow" in own]


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    head = Head(tmp_path)
    yield head
    if (tmp_path / "mlflow" / "group").exists():
        head.node("end_mlflow")


def test_a_killed_server_comes_back_once_until_it_is_ended(head: Head, tmp_path: Path):
    artifacts = tmp_path / "shared"
    first = head.node("mlflow", str(artifacts))
    assert (first.returncode, first.stderr) == (0, "")
    assert f"http://127.0.0.1:{head.port}" in first.stdout
    assert (artifacts / "artifacts").is_dir()

    before = head.servers()
    again = head.node("mlflow", str(artifacts))
    assert again.returncode == 0
    assert head.servers() == before, "a second call leaves the first alone"

    for process in before:
        os.kill(process, signal.SIGKILL)
    wait_for("another server answers", lambda: head.answers() and not {*head.servers()} & {*before})

    ended = head.node("end_mlflow")
    assert ended.returncode == 0
    wait_for("it ends", lambda: not head.servers() and not head.answers())
