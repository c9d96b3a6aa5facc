"""Ports of this machine: a free one for a server of a test's own, and one on which it listens."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

PORTS = range(20_000, 32_000)
"""Below the ports that a kernel gives to whoever asks for any, as Ray does all the time."""


def free_port() -> int:
    """Return a loopback port on which nobody listens; two processes hardly ever get the same."""
    for port in random.SystemRandom().sample(PORTS, k=100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise RuntimeError(f"no port of 100 between {PORTS.start} and {PORTS.stop} is free")


@contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """Listen on a free port; call a function with each connection, which is closed then."""

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with closing(connection):
                    answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
