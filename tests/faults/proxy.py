"""A proxy that makes a server's faults."""

import http.client
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Judge = Callable[[str, bytes], str]
"""Gives the fault that meets a call, by its path and body; "" for none."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any):
        """Tell of what is wrong here, but not of a side that hung up, as faults make it."""
        if not isinstance(sys.exception(), OSError | http.client.HTTPException):
            super().handle_error(request, client_address)


class Proxy:
    """Passes calls on to a server, but those that a fault meets.

    500: answered so; ``hang``: never answered; ``drip``: answered a byte at a time; ``slow``:
    passed on after a while.
    """

    slow_seconds = 10.0

    def __init__(self, target: str):
        self.judge: Judge = lambda path, body: ""
        self.asked: list[str] = []
        """Calls that a fault met."""
        self.released = threading.Event()
        self._target = urlsplit(target).netloc
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def fail(self, fault: str, *, where: str = ""):
        """Let a fault meet all calls, or those that have a text in their path or body."""
        self.judge = lambda path, body: fault if where.encode() in path.encode() + body else ""

    def mend(self):
        """Let all calls through."""
        self.judge = lambda path, body: ""

    def close(self):
        """End the proxy and what hangs in it."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = (
                True  # else each answer waits for the client's acknowledgement
            )

            def _handle(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = proxy.judge(self.path, body)
                if fault == "slow":
                    proxy.released.wait(proxy.slow_seconds)
                if fault in ("", "slow"):
                    self._answer(*self._passed_on(body))
                    return
                proxy.asked.append(self.path)
                self.close_connection = True
                if fault == "hang":
                    proxy.released.wait()
                elif fault == "drip":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    while not proxy.released.wait(0.1):
                        self.wfile.write(b" ")
                else:
                    status, _, text = fault.partition(" ")
                    self._answer(int(status), text.encode() or b"<html>no</html>")

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

            def _passed_on(self, body: bytes) -> tuple[int, bytes]:
                connection = http.client.HTTPConnection(proxy._target)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()

            def _answer(self, status: int, body: bytes):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if self.close_connection:  # a client that is not notified may ask again on it
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any):
                """Say nothing."""

        return Handler


def wait_until(true: Callable[[], object]):
    waited = threading.Event()
    while not true():  # the test's own time limit bounds it
        waited.wait(0.05)
