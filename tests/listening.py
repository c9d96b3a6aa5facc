"""A port of this machine on which a test listens."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress


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
