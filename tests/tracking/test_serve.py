"""The supervised MLflow server: one of it, on loopback, started again when it dies."""

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from study.errors import TrackingError
from study.tracking import serve
from study.tracking.serve import Server

# A stand-in that answers as MLflow does, in a fraction of its seconds and memory.
STAND_IN = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SUPERVISE = """
import sys
from pathlib import Path
from study.tracking import serve

class StandIn(serve.Server):
    def command(self):
        return [sys.executable, "-c", {stand_in!r}, str(self.port), f"sqlite:///{{self.database}}"]

server = StandIn(Path({database!r}), Path({artifacts!r}), {port})
print("served" if serve.supervise(server) else "found", flush=True)
"""


@pytest.fixture
def server(tmp_path: Path) -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Server(tmp_path / "database" / "mlflow.db", tmp_path / "artifacts", port)


Supervise = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def supervise(server: Server) -> Iterator[Supervise]:
    """Start a supervisor of the stand-in."""
    started: list[subprocess.Popen[str]] = []

    def start() -> "subprocess.Popen[str]":
        script = SUPERVISE.format(
            stand_in=STAND_IN,
            database=str(server.database),
            artifacts=str(server.artifacts),
            port=server.port,
        )
        command = [sys.executable, "-c", script]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=120)


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(server: Server) -> bool:
    try:
        with urllib.request.urlopen(server.address, timeout=5):
            return True
    except OSError:
        return False


def serving(server: Server) -> int:
    """The process id of the server that answers, or 0."""
    return json.loads(server.state.read_text())["server"] if answers(server) else 0


def test_it_listens_on_loopback_with_the_database_apart_from_the_artifacts(
    server: Server,
) -> None:
    command = " ".join(server.command())
    assert "--host 127.0.0.1" in command
    assert f"--backend-store-uri sqlite:///{server.database}" in command
    assert f"--artifacts-destination {server.artifacts}" in command


def test_a_server_that_dies_is_started_again(server: Server, supervise: Supervise) -> None:
    supervise()
    wait_until(lambda: serving(server))
    first = serving(server)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: serving(server) not in (0, first))


def test_a_second_start_finds_the_first_and_leaves_it_alone(
    server: Server, supervise: Supervise
) -> None:
    supervise()
    wait_until(lambda: serving(server))
    first = serving(server)
    second = supervise()
    said, _ = second.communicate(timeout=120)
    assert (second.returncode, said) == (0, "found\n")
    assert serving(server) == first


def test_a_supervisor_that_is_ended_ends_its_server(server: Server, supervise: Supervise) -> None:
    supervisor = supervise()
    wait_until(lambda: serving(server))
    supervisor.terminate()
    assert supervisor.wait(timeout=120) == 0
    assert not answers(server)


def test_stopping_ends_both_and_tells_whether_there_was_one(
    server: Server, supervise: Supervise
) -> None:
    supervisor = supervise()
    wait_until(lambda: serving(server))
    assert serve.stop(server)
    supervisor.wait(timeout=120)
    assert not answers(server)
    assert not serve.stop(server)


def test_a_server_whose_supervisor_was_killed_is_replaced(
    server: Server, supervise: Supervise
) -> None:
    supervisor = supervise()
    wait_until(lambda: serving(server))
    first = serving(server)
    supervisor.kill()
    supervisor.wait(timeout=120)
    assert answers(server), "the server outlived it"
    supervise()
    wait_until(lambda: serving(server) not in (0, first))
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_a_stranger_with_a_remembered_id_is_left_alone(
    server: Server, supervise: Supervise
) -> None:
    serve.prepare(server)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        server.state.write_text(json.dumps({"supervisor": 1, "server": stranger.pid}))
        supervise()
        wait_until(lambda: serving(server) != stranger.pid)
        assert stranger.poll() is None
        stranger.kill()


def test_a_database_on_a_network_file_system_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_file_system", lambda folder: "nfs4")
    with pytest.raises(TrackingError, match="network file system"):
        serve.supervise(server)


@pytest.mark.parametrize("reply", [b"HTTP/1.0 200 OK\r\n\r\n", b"220 mail\r\n"])
def test_another_server_on_the_port_is_told_and_not_taken_for_this_one(
    server: Server, reply: bytes
) -> None:
    class Other(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(reply)

    with socketserver.ThreadingTCPServer((serve.HOST, server.port), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(TrackingError, match="--port chooses another"):
            serve.start_in_background(server)
        other.shutdown()
    log = server.database.with_name("server.log").read_text()
    assert log == (f"error: another process has the port {server.port}; --port chooses another\n")


def test_a_database_that_is_served_on_another_port_is_told(
    server: Server, supervise: Supervise
) -> None:
    supervise()
    wait_until(lambda: serving(server))
    with socketserver.TCPServer((serve.HOST, 0), socketserver.BaseRequestHandler) as other:
        elsewhere = replace(server, port=other.server_address[1])
        with pytest.raises(TrackingError, match=f"is served on the port {server.port} already"):
            serve.start_in_background(elsewhere)


def test_a_server_that_does_not_come_up_in_time_is_told_and_not_left_behind(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "STARTS_WITHIN", 0.0)
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen
    monkeypatch.setattr(
        serve.subprocess, "Popen", lambda *a, **k: started.append(start(*a, **k)) or started[-1]
    )
    with pytest.raises(TrackingError, match="--port chooses another"):
        serve.start_in_background(server)
    (supervisor,) = started
    assert supervisor.poll() is not None, "it was left behind"


@pytest.mark.long
def test_the_real_server_keeps_its_database_over_a_restart(server: Server) -> None:
    from mlflow import MlflowClient

    serve.start_in_background(server)
    try:
        MlflowClient(server.address).create_experiment("kept")
        serve.start_in_background(server)
        assert serve.stop(server)
        serve.start_in_background(server)
        assert MlflowClient(server.address).get_experiment_by_name("kept") is not None
    finally:
        serve.stop(server)
    assert not answers(server)
