"""A supervised MLflow server on loopback: ``clipfit-study serve``.

``python -m study.tracking.serve`` is the same.

The server is started again when it dies. A second supervisor finds the lock of the first and ends
at once, so a cluster's start commands may run several times.
"""

import argparse
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path

from study.errors import TrackingError
from study.storage.atomic import write_atomically
from study.storage.network import silence

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
STARTS_WITHIN = 120.0
"""How many seconds a new server may take to answer."""
ENDS_WITHIN = 15.0
"""How many seconds a server has to end after SIGTERM, before SIGKILL."""
ANSWERS_WITHIN = 5.0
"""How many seconds one that listens on the port may take to answer."""
LONGEST_PAUSE = 30.0
"""The longest pause between two starts of a server that keeps dying, in seconds."""


@dataclass(frozen=True)
class Server:
    """What is served, and where."""

    database: Path
    """The SQLite file, on a local disk."""
    artifacts: Path
    """The folder of artifacts, on storage that all machines see."""
    port: int = 5000

    @property
    def state(self) -> Path:
        """A JSON file with the process ids of ``supervisor`` and ``server``, and the ``port``."""
        return self.database.with_name("server.json")

    @property
    def address(self) -> str:
        """The address of the server."""
        return f"http://{HOST}:{self.port}"

    def answers(self) -> bool:
        """Return whether a server answers at the address, be it this one or another."""
        health = f"{self.address}/health"
        with (
            suppress(OSError, HTTPException),
            urllib.request.urlopen(health, timeout=ANSWERS_WITHIN),
        ):
            return True
        return False

    def command(self) -> list[str]:
        """Return the command that starts the server."""
        return [
            *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(self.port)),
            *("--backend-store-uri", f"sqlite:///{self.database}"),
            *("--artifacts-destination", str(self.artifacts), "--workers", "1"),
            *("--uvicorn-opts", "--log-level warning"),  # no line per request
        ]


def supervise(server: Server) -> bool:
    """Serve until SIGTERM or SIGINT; return False at once if another process already serves.

    Raises:
        TrackingError: the database would lie on a network file system, or another server has the
            port.
    """
    prepare(server)
    with _lock(server) as holder:
        if holder is None:
            # A server whose supervisor was killed would keep the port.
            with suppress(OSError, KeyError):
                leftover = _state(server)["server"]
                command = Path(f"/proc/{leftover}/cmdline").read_bytes().split(b"\0")
                if f"sqlite:///{server.database}".encode() in command:
                    _end_group(leftover)
            if not silence(HOST, server.port, ANSWERS_WITHIN):
                raise TrackingError(
                    f"another process has the port {server.port}; --port chooses another"
                )
            _keep_running(server)
    return holder is None


def start_in_background(server: Server) -> None:
    """Start a supervisor that outlives this shell, or find one; return when the server answers.

    Raises:
        TrackingError: the server does not answer in time, the database would lie on a network
            file system, or another server has the port.
    """
    prepare(server)
    options = [f"--{name}={value}" for name, value in asdict(server).items()]
    log_path = server.database.with_name("server.log")
    with log_path.open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "study.tracking.serve", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + STARTS_WITHIN
    while not _serves(server, supervisor):
        port = _state(server).get("port", server.port)
        if supervisor.poll() == 0 and port != server.port:
            raise TrackingError(f"{server.database} is served on the port {port} already")
        if supervisor.poll() or time.monotonic() > deadline:
            supervisor.terminate()  # else it would try for ever, with nobody who knows of it
            supervisor.wait()
            raise TrackingError(
                f"no MLflow server answers on {server.address}; {log_path} tells why, such as "
                "another process on its port (--port chooses another)"
            )
        time.sleep(0.5)


def stop(server: Server) -> bool:
    """End the supervisor and its server; return False if there is none.

    Raises:
        TrackingError: the supervisor does not end in time.
    """
    supervisor = 0
    deadline = time.monotonic() + 2 * ENDS_WITHIN
    while time.monotonic() < deadline:
        with _lock(server) as holder:
            if holder is None:
                return supervisor != 0
        if not supervisor and holder:
            supervisor = holder
            with suppress(ProcessLookupError):
                os.kill(supervisor, signal.SIGTERM)
        time.sleep(0.1)
    raise TrackingError(f"the supervisor of the MLflow server, process {supervisor}, does not end")


def prepare(server: Server) -> None:
    """Make the folders of the database and the artifacts.

    Raises:
        TrackingError: the database would lie on a network file system, whose locks SQLite does
            not survive.
    """
    for folder in (server.database.parent, server.artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    if (kind := _file_system(server.database.parent)).startswith(
        ("nfs", "cifs", "smb", "fuse.sshfs", "lustre", "ceph", "9p", "beegfs")
    ):
        raise TrackingError(
            f"{server.database} is on a network file system ({kind}), which SQLite does not "
            "survive; --database names a file on a local disk"
        )


def _keep_running(server: Server) -> None:
    asked_to_end = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: asked_to_end.set())
    pause = 1.0
    while not asked_to_end.is_set():
        began = time.monotonic()
        # A session of its own, so that its workers can be ended together with it.
        process = subprocess.Popen(
            server.command(),
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                # It would start eight more processes for features that no study uses.
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        write_atomically(
            server.state,
            json.dumps({"supervisor": os.getpid(), "server": process.pid, "port": server.port}),
        )
        while process.poll() is None and not asked_to_end.wait(0.2):
            pass
        _end_group(process.pid, process.poll)
        if not asked_to_end.is_set():
            pause = (
                1.0 if time.monotonic() - began > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            )
            logger.warning(
                "the MLflow server ended with code %s; again in %.0f s", process.returncode, pause
            )
            asked_to_end.wait(pause)


def _end_group(group: int, reap: Callable[[], object] = lambda: None) -> None:
    """Send SIGTERM to all processes of a group, and SIGKILL if some remain.

    Args:
        group: the group's id.
        reap: reaps the group's leader if it is a child of this process, where it would otherwise
            stay as a zombie, and the group with it.
    """
    for name in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + ENDS_WITHIN
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, name)
            while time.monotonic() < deadline:
                reap()
                os.killpg(group, 0)
                time.sleep(0.05)


@contextmanager
def _lock(server: Server) -> Iterator[int | None]:
    """Try to take the supervisor's lock, which ends with its process.

    Yields:
        None if it was free and is taken; else the process id of the supervisor that holds it, which
        it has written into the file, or 0 until it has.
    """
    path = server.database.with_name("server.lock")
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield int(path.read_text() or 0)
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield None
        finally:
            file.truncate(0)


def _state(server: Server) -> dict[str, int]:
    """Return what the supervisor has last written; empty if there is nothing."""
    with suppress(OSError, ValueError, TypeError):  # none, cut, or of another kind
        return dict(json.loads(server.state.read_text(encoding="utf-8")))
    return {}


def _serves(server: Server, supervisor: "subprocess.Popen[bytes]") -> bool:
    """Return whether a server answers that is the supervisor's, or that of one that it found."""
    own = _state(server).get("supervisor") == supervisor.pid
    return (own or supervisor.poll() == 0) and server.answers()


def _file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on; an empty text if unknown."""
    mounts, resolved = Path("/proc/self/mounts"), folder.resolve()
    lines = mounts.read_text(encoding="utf-8").splitlines() if mounts.exists() else []
    kinds = {Path(place): kind for _, place, kind, *_ in map(str.split, lines)}
    return next((kinds[p] for p in (resolved, *resolved.parents) if p in kinds), "")


def _port(text: str) -> int:
    """Return a port of TCP."""
    port = int(text) if text.isdecimal() else 0
    if not 0 < port < 2**16:
        raise argparse.ArgumentTypeError(f"'{text}' is no port; allowed are 1 to 65535")
    return port


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve in the foreground, or start or stop a server in the background."""
    parser = argparse.ArgumentParser(prog="clipfit-study serve", description=__doc__)
    parser.add_argument("--database", type=Path, default=Path.home() / "mlflow" / "mlflow.db")
    parser.add_argument("--artifacts", type=Path, default=Path.home() / "mlflow" / "artifacts")
    parser.add_argument("--port", type=_port, default=Server.port)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--background", action="store_true", help="return when it answers")
    what.add_argument("--stop", action="store_true", help="end what serves this database")
    options = parser.parse_args(arguments)
    server = Server(options.database.absolute(), options.artifacts.absolute(), options.port)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        if options.stop:
            print("ended" if server.database.parent.exists() and stop(server) else "none served")
        elif options.background:
            start_in_background(server)
            print(f"MLflow answers on {server.address}")
        elif not supervise(server):
            print(f"{server.database} is served already")
    except TrackingError as error:
        parser.exit(2, f"error: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
