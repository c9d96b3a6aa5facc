"""What `clusters/node.sh` does on the machines of a cluster, such as keeping MLflow alive."""

import os
import signal
import subprocess
import sys
import urllib.request
from ipaddress import ip_address, ip_network
from pathlib import Path

import psutil
import pytest

from tests.clusters.conftest import ROOT, wait_for
from tests.ports import free_port

PYTHON, RAY = "3.11", "2.60.0"


def run(home: Path, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command; programs in ``bin`` of its home come before others."""
    path = f"{home / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"HOME": str(home), "PATH": path, **more}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def node(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the script of the machines."""
    return run(home, "bash", ROOT / "clusters" / "node.sh", *arguments, **more)


def write_programs(folder: Path, **scripts: str):
    folder.mkdir(parents=True)
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


def test_the_environment_is_read_by_shells_once_however_often_it_is_written(tmp_path: Path):
    (tmp_path / ".clipfit").mkdir()
    (tmp_path / ".bashrc").write_text("# what was there\n")
    for value in ("first", "a second $one"):
        assert node(tmp_path, "environment", f"STUDY_CONFIG={value}").returncode == 0
    assert len((tmp_path / ".bashrc").read_text().splitlines()) == 2
    shown = run(tmp_path, "bash", "-c", '. ~/.bashrc; echo "$STUDY_CONFIG|$PATH"').stdout
    assert shown.startswith(f"a second $one|{tmp_path}/.clipfit/bin:{tmp_path}/bin:")


def test_a_worker_that_does_not_see_the_heads_folder_says_so(tmp_path: Path):
    shared = str(tmp_path / "shared")
    blind = node(tmp_path, "see", shared)
    assert blind.returncode == 1
    assert shared in blind.stderr
    assert node(tmp_path, "share", shared).returncode == 0
    assert node(tmp_path, "see", shared).returncode == 0


def test_the_heads_folder_is_for_machines_of_any_subnet_of_the_cluster_and_no_others(
    tmp_path: Path,
):
    """An availability zone is a subnet of its own."""
    sudo = '[ "$1" = tee ] && exec cat > "$HOME/exports" || exec "$@"'
    write_programs(tmp_path / "bin", exportfs="", sudo=sudo)
    exported = node(tmp_path, "export_nfs", "/srv/clipfit")
    assert exported.returncode == 0, exported.stderr
    folder, *clients = (tmp_path / "exports").read_text().split()
    assert folder == "/srv/clipfit"
    networks = [ip_network(client.partition("(")[0]) for client in clients]
    assert all(network.is_private for network in networks)
    for machine in ("172.31.5.4", "172.31.20.4", "172.31.40.4", "10.0.3.7"):
        assert any(ip_address(machine) in network for network in networks)


def test_a_spot_machine_that_aws_takes_away_is_drained_at_its_notice(tmp_path: Path):
    no_notice_yet = 'echo "$@" >> "$HOME/asked"; [ "$(wc -l < "$HOME/asked")" -gt 4 ]'
    write_programs(tmp_path / "bin", curl=f"{no_notice_yet} && echo token", sleep="")
    write_programs(tmp_path / ".clipfit" / "bin", ray='echo "$RAY_ADDRESS $@"')
    drained = node(tmp_path, "await_notice", "10.0.0.1")
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-1].endswith("http://169.254.169.254/latest/meta-data/spot/instance-action")
    assert "X-aws-ec2-metadata-token: token" in asked[-1]
    command = drained.stdout.removeprefix("token\n").split()  # which no file takes here
    assert command[:2] == ["10.0.0.1:6379", "drain-node"]
    assert "DRAIN_NODE_REASON_PREEMPTION" in command, "else Ray may refuse, as work is there"


def test_an_environment_of_another_python_is_refused(tmp_path: Path):
    write_programs(tmp_path / ".clipfit" / "bin", pip="", python="", **{f"python{PYTHON}": ""})
    assert node(tmp_path, "install", PYTHON, RAY).returncode == 0
    refused = node(tmp_path, "install", "3.9", RAY)
    assert refused.returncode == 1
    assert "3.9" in refused.stderr


@pytest.mark.long
def test_a_killed_mlflow_server_comes_back_once_until_it_is_ended(tmp_path: Path):
    port = free_port()
    write_programs(tmp_path / ".clipfit" / "bin", python=f'exec {sys.executable} "$@"')
    shared = tmp_path / "shared"

    def script(*words: str) -> subprocess.CompletedProcess[str]:
        return node(tmp_path, *words, MLFLOW_PORT=str(port))

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return True
        except OSError:
            return False

    def servers() -> set[int]:
        """The process ids of the servers, without their workers and the loop."""
        database = f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"
        running = psutil.process_iter(["cmdline"])
        words = {process.pid: process.info["cmdline"] or () for process in running}
        return {pid for pid, own in words.items() if database in own and "mlflow" in own}

    try:
        first = script("mlflow", str(shared))
        assert (first.returncode, first.stderr) == (0, "")
        assert f"http://127.0.0.1:{port}" in first.stdout
        assert (shared / "artifacts").is_dir()
        before = servers()
        assert script("mlflow", str(shared)).returncode == 0
        assert servers() == before, "a second call leaves the first alone"
        for process in before:
            os.kill(process, signal.SIGKILL)
        wait_for("another server answers", lambda: answers() and not servers() & before)
    finally:
        ended = script("end_mlflow")
    assert ended.returncode == 0
    wait_for("it ends", lambda: not servers() and not answers())
