"""Whether something answers at an address of the network, within seconds that the caller sets.

Libraries that find nobody there retry for minutes, and log each attempt.
"""

import queue
import socket
import ssl
import threading
from collections.abc import Callable
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import Request, build_opener


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

    def call() -> str | None:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            if greeting:
                connection.sendall(greeting)
            right = not greeting or answers(connection.recv(64))
        return None if right else "what listens there is something else"

    return _fault_within(seconds, call)


def web_silence(url: str, seconds: float) -> str | None:
    """Return why no web server answers at an address, or the proxy that leads to it; else None.

    Any answer will do: certificates and logins are for whoever asks for more.

    Args:
        url: the address.
        seconds: how long to wait for everything together.
    """

    def call() -> str | None:
        try:
            # An opener of its own, since that of `urlopen` keeps the proxies that it once found.
            build_opener().open(Request(url, method="HEAD"), timeout=seconds).close()
        except HTTPError:
            return None
        except URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                return None
            raise error.reason if isinstance(error.reason, OSError) else error from None
        return None

    return _fault_within(seconds, call)


def _fault_within(seconds: float, call: Callable[[], str | None]) -> str | None:
    """Return what a call finds at fault, or its error; it has some seconds."""
    found: queue.Queue[str | None] = queue.Queue()

    def put() -> None:
        try:
            found.put(call())
        # A name may be none that can be looked up, and an answer none of HTTP.
        except (OSError, ValueError, HTTPException) as error:
            found.put(getattr(error, "strerror", None) or str(error) or type(error).__name__)

    # In a thread that nobody waits for, since no limit can be set for looking up a name.
    threading.Thread(target=put, name="network-silence", daemon=True).start()
    try:
        return found.get(timeout=seconds)
    except queue.Empty:
        return f"no answer within {seconds:g} s"
