"""Text and amounts on the terminal."""

import sys

from rich.console import Console
from rich.text import Text

from study.report.visible_text import visible_text

PIPED = 120
"""The width of output in characters if it is not a terminal, such as a pipe."""


def amount(number: float, name: str) -> str:
    """Return a number of things, such as “1 trial”, “8 trials” or “0.5 GPUs”."""
    digits = f"{number:,}" if isinstance(number, int) else f"{number:,g}"
    return f"{digits} {name}" if number == 1 else f"{digits} {name}s"


def print_sentences(console: Console, text: str, style: str = "", *, wrap: bool = True) -> None:
    """Print long text, wrapped between words on a terminal, and unwrapped elsewhere."""
    shown = Text(visible_text(text), style)  # in which nothing is markup
    console.print(shown, soft_wrap=not (wrap and console.is_terminal))


def print_unwrapped(console: Console, text: str, style: str = "") -> None:
    """Print text as it is, without further line breaks, so that commands in it can be pasted."""
    print_sentences(console, text, style, wrap=False)


def print_csv(text: str) -> None:
    """Print CSV to the standard output, for programs as it is, and as `visible_text` otherwise."""
    if sys.stdout.isatty():
        text = visible_text(text)
    print(text, end="")


def print_error(text: str) -> None:
    """Print an error to standard error, wrapped on a terminal.

    Commands in it are not wrapped, so that they can be pasted.
    """
    console = Console(stderr=True)
    for line in f"error: {text}".splitlines():
        if line.lstrip().startswith("clipfit-study "):
            print_unwrapped(console, line)
        else:
            print_sentences(console, line)
