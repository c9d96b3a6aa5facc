"""A port for a server of a test's own, which nobody else takes before the server does."""

import random
import socket

PORTS = range(20_000, 32_000)
"""Below the ports that a kernel gives to whoever asks for any, as Ray does all the time."""


def free_port() -> int:
    """Return a loopback port on which nobody listens; two processes hardly ever get the same."""
    for port in random.SystemRandom().sample(PORTS, k=100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise RuntimeError(f"no port of 100 between {PORTS.start} and {PORTS.stop} is free")
