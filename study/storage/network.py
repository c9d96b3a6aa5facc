"""Whether something answers at an address of the network, within seconds that the caller sets.

Libraries that find nobody there retry for minutes, and log each attempt.
"""

import queue
import socket
import threading
from collections.abc import Callable


def silence(
    host: str,
    port: int,
    seconds: float,
    *,
    greeting: bytes = b"",
    answers: Callable[[bytes], bool] = lambda _: True,
) -> str | None:
    """Return why nothing answers at an address; None if something does.

    Args:
        host: the name or address of a machine.
        port: the port.
        seconds: how long to wait for the name, the connection and the answer together.
        greeting: what is sent; without it a connection is answer enough.
        answers: tells whether the first bytes that come back are those of what is looked for.
    """
    found: queue.Queue[str | None] = queue.Queue()

    def call() -> None:
        try:
            with socket.create_connection((host, port), timeout=seconds) as connection:
                if greeting:
                    connection.sendall(greeting)
                right = not greeting or answers(connection.recv(64))
            found.put(None if right else "what listens there is something else")
        except (OSError, UnicodeError) as error:  # a name may be none that can be looked up
            found.put(getattr(error, "strerror", None) or str(error))

    # In a thread that nobody waits for, since no limit can be set for looking up a name.
    threading.Thread(target=call, name="network-silence", daemon=True).start()
    try:
        return found.get(timeout=seconds)
    except queue.Empty:
        return f"no answer within {seconds:g} s"
