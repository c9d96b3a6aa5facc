"""What a terminal shows of tables and sentences, however they were broken to fit it."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """A stream that keeps what is printed on it, and states that it is a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True

    @property
    def shown(self) -> str:
        """What is to be seen, without colours; a line that is written anew is there each time."""
        return _ESCAPES.sub("", self.getvalue()).replace("\r", "\n")


@contextmanager
def terminal(width: int = 80) -> Iterator[Terminal]:
    """Let output and errors of the block be shown on a terminal of so many characters."""
    screen = Terminal()
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(screen),
        redirect_stderr(screen),
    ):
        patch.setenv("COLUMNS", str(width))
        yield screen


def characters(screen: str) -> Counter[str]:
    """Return how often a screen has each character, without spaces and the lines of tables."""
    return Counter(re.sub(r"[\s\u2500-\u257f]", "", screen))
