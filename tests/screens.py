"""What stands in the tables of a terminal's screen, however they were broken to fit it."""

import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BORDER = re.compile(r"[┃│]")


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


def columns(screen: str) -> Counter[str]:
    """Return the columns of all tables, each as its header and cells without any space.

    A row that is wrapped is so the same text as on one line. A column that several pieces of a
    table repeat is there several times.
    """
    lines = plain(screen).splitlines()
    drawn: list[list[str]] = [[]]
    blank: list[list[str]] = [[]]
    for line in lines:
        if _BORDER.match(line):
            drawn[-1].append(line)
        elif line.startswith("┏"):
            drawn.append([])
        if line.startswith(" ") and line.strip():
            blank[-1].append(line)
        else:
            blank.append([])
    found: Counter[str] = Counter()
    for table in drawn:
        rows = [_BORDER.split(line)[1:-1] for line in table]
        found.update(squeezed("".join(column)) for column in zip(*rows, strict=True))
    for table in blank:
        found.update(_columns_between_gaps(table))
    return found


def _columns_between_gaps(lines: list[str]) -> list[str]:
    """Return the columns of lines between which two characters or more are blank in all lines."""
    width = max(map(len, lines), default=0)
    padded = [line.ljust(width) for line in lines]
    shadow = "".join(" " if {*column} == {" "} else "x" for column in zip(*padded, strict=True))
    ends = [(match.start(), match.end()) for match in re.finditer(r"x( ?x)*", shadow)]
    return [squeezed("".join(line[begin:end] for line in padded)) for begin, end in ends]


def sentences(screen: str) -> list[str]:
    """Return the lines of text, which are no part of a table and of no progress bar."""
    lines = plain(screen).splitlines()
    return [line for line in lines if line.strip() and not re.match(r"[┏┡└├┃│ ]|.*━", line)]


def table_lines(screen: str) -> list[str]:
    """Return the lines of tables, which a terminal must not break."""
    return [line for line in plain(screen).splitlines() if re.match(r"[┏┡└├┃│ ]", line)]
