"""What a terminal shows of tables and sentences, however they were broken to fit it."""

import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run_in_terminal(arguments: Sequence[str], folder: Path | None = None) -> str:
    """Return what Python prints where its output is a terminal, which it does without a failure."""
    terminal, inside = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    child = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        stdin=inside,
        stdout=inside,
        stderr=subprocess.STDOUT,
        env={**environment, "TERM": "xterm"},
    )
    os.close(inside)
    output = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # so Linux says that nobody has the other end open any more
            break
        if not chunk:
            break
        output += chunk
    os.close(terminal)
    assert child.wait() == 0, output.decode()[-2000:]
    return plain(output.decode())


def plain(screen: str) -> str:
    """Return what a terminal shows, without colours and other commands to it.

    A line that is written anew is there each time.
    """
    return _ESCAPES.sub("", screen).replace("\r\n", "\n").replace("\r", "\n")


def squeezed(text: str) -> str:
    """Return text without the spaces and lines' ends by which it is wrapped."""
    return "".join(text.split())


def characters(screen: str) -> Counter[str]:
    """Return how often a screen has each character, without spaces and the lines of tables."""
    return Counter(re.sub(r"[\s\u2500-\u257f]", "", screen))


def sentences(screen: str) -> list[str]:
    """Return the lines of text, which are no part of a table and of no progress bar."""
    lines = plain(screen).splitlines()
    return [line for line in lines if line.strip() and not re.match(r"[┏┡└├┃│ ]|.*━", line)]


def table_lines(screen: str) -> list[str]:
    """Return the lines of tables, which a terminal must not break."""
    return [line for line in plain(screen).splitlines() if re.match(r"[┏┡└├┃│ ]", line)]
