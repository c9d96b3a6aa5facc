"""A command line that is carried out within a test, and the one message of what is refused."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from study.backbones.load_backbone import load_backbone
from study.data.readers import glyphs

LEAKED = re.compile(r"Traceback|codec|Max retries|NoneType|Repo id")
"""What the sentences of libraries have, and plain words have not."""


class Ran(NamedTuple):
    """What a command line came to, and what it printed."""

    code: int
    out: str
    err: str


def load_data_once(patch: pytest.MonkeyPatch):
    """Let a check load each checkpoint and the digits once, which takes most of its time."""
    patch.setattr("study.commands.check.load_backbone", cache(load_backbone))
    patch.setattr(glyphs, "read_digits", cache(glyphs.read_digits))


def carry_out(
    main: Callable[[Sequence[str]], int],
    words: Sequence[str],
    place: Path,
    capfd: pytest.CaptureFixture[str],
) -> Ran:
    """Carry out a command line, which leaves nothing behind in a folder."""
    before = {*place.rglob("*")}
    try:
        code = main(words)
    except SystemExit as end:  # of argparse
        code = int(str(end.code))
    printed = capfd.readouterr()
    assert {*place.rglob("*")} == before, "something was left behind"
    return Ran(code, printed.out, printed.err)


def only_message(ran: Ran) -> str:
    """Return what it printed as an error, which is one message in plain words."""
    errors = re.findall(r"^(?:clipfit-study \w+: )?error: ", ran.err, re.MULTILINE)
    assert len(errors) == 1, ran.err
    assert not LEAKED.search(ran.err), ran.err
    assert len(ran.err) < 3000
    return ran.err
