"""Tables and amounts on the terminal, which show all headers and cells at any width.

All tables that commands print are a `TerminalTable`. A table that is too wide wraps its words. If
that is not enough, it is split into several tables, which repeat the columns that name the rows.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from study.report.visible_text import visible_text

PIPED = 120
"""The width of output in characters if it is not a terminal, such as a pipe."""
CONTINUED = " (continued)"
"""The end of the title of each piece of a table after the first."""
_WORDS = 18
"""The least width of a column of words; the longest label has this width."""
_LONGEST_WORD = 32
"""The most characters of a word that is not broken; the names of most studies are shorter."""


def amount(number: float, name: str) -> str:
    """Return a number of things, such as “1 trial”, “8 trials” or “0.5 GPUs”."""
    digits = f"{number:,}" if isinstance(number, int) else f"{number:,g}"
    return f"{digits} {name}" if number == 1 else f"{digits} {name}s"


def print_sentences(console: Console, text: str, style: str = "") -> None:
    """Print long text, wrapped between words on a terminal, and unwrapped elsewhere."""
    _print_plain(console, text, style, soft_wrap=not console.is_terminal)


def print_unwrapped(console: Console, text: str, style: str = "") -> None:
    """Print text as it is, without further line breaks, so that commands in it can be pasted."""
    _print_plain(console, text, style, soft_wrap=True)


def _print_plain(console: Console, text: str, style: str, *, soft_wrap: bool) -> None:
    visible = visible_text(text)
    console.print(
        visible, style=style, markup=False, highlight=False, emoji=False, soft_wrap=soft_wrap
    )


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


@dataclass(frozen=True)
class TerminalTable:
    """A table of texts, which rich prints in pieces that fit the terminal."""

    header: Sequence[str]
    """The names of the columns; all empty for a table without a header."""
    rows: Sequence[Sequence[str]]
    """The cells of each row."""
    title: str = ""
    """The title; may be empty."""
    words: int = 1
    """The number of leading columns that are aligned left; the others are aligned right."""
    keys: int = 1
    """The number of leading columns that name a row; each piece repeats them."""
    break_at: int | None = None
    """The largest number of columns of the first piece, if the table must be split."""
    lines: bool = True
    """Whether lines are drawn between the cells."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the pieces, for rich to print, with an empty line between those without lines."""
        rows = [list(map(visible_text, row)) for row in self.rows]
        for number, piece in enumerate(replace(self, rows=rows).pieces(options.max_width)):
            if number and not self.lines:
                yield Text("")
            yield piece._to_rich_table(options.max_width)

    def pieces(self, width: int) -> Iterator["TerminalTable"]:
        """Yield the table in pieces that fit a terminal.

        Args:
            width: the number of columns of the terminal.
        """
        least = self._least_widths()
        count = self.keys + 1
        while count < len(least) and sum(least[: count + 1]) <= self._room(width, count + 1):
            count += 1
        if count >= len(self.header):
            yield self
            return
        if self.break_at:
            count = min(count, self.break_at)
        yield self._with_columns(range(count))
        title = self.title
        if title:
            title = title.removesuffix(CONTINUED) + CONTINUED
        words = max(self.keys, self.words - count + self.keys)
        columns = list(range(self.keys)) + list(range(count, len(self.header)))
        remainder = replace(self._with_columns(columns), title=title, words=words, break_at=None)
        yield from remainder.pieces(width)

    def _with_columns(self, columns: Sequence[int]) -> "TerminalTable":
        header = [self.header[index] for index in columns]
        rows = []
        for row in self.rows:
            rows.append([row[index] for index in columns])
        return replace(self, header=header, rows=rows)

    def _room(self, width: int, columns: int) -> int:
        """Return how many characters of a line the cells of so many columns may take."""
        if self.lines:
            return width - 3 * columns - 1
        return width - 2 * columns

    def _least_widths(self) -> list[int]:
        """Return the width of each column if its header and its words are wrapped.

        A column without letters holds numbers, which stay on one line.
        """
        widths = []
        for name, *cells in zip(self.header, *self.rows, strict=True):
            width = max(map(cell_len, name.split() + cells), default=0)
            text = " ".join(cells)
            has_words = any(map(str.isalpha, text))
            if has_words:
                longest = max(map(cell_len, text.split()))
                width = min(width, max(_WORDS, min(longest, _LONGEST_WORD)))
            widths.append(width)
        return widths

    def _widths(self, room: int) -> list[int]:
        """Return the width of each column, so that their sum is at most a number of characters."""
        columns = zip(self.header, *self.rows, strict=True)
        widths = [max(map(cell_len, column)) for column in columns]  # if nothing is wrapped
        # If the table cannot fit by its words, words and numbers are folded anywhere.
        for least in (self._least_widths(), [1] * len(widths)):
            while sum(widths) > room:
                shrinkable = [index for index, width in enumerate(widths) if width > least[index]]
                if not shrinkable:
                    break
                widest = max(shrinkable, key=widths.__getitem__)
                widths[widest] -= 1
        return widths

    def _to_rich_table(self, width: int) -> Table:
        widths = self._widths(self._room(width, len(self.header)))
        columns = []
        for index, name in enumerate(self.header):
            column = Column(Text(name), overflow="fold", width=max(widths[index], 1))
            if index >= self.words:
                column.justify = "right"
            columns.append(column)
        table = Table(*columns, title_justify="left", title_style="bold")
        table.show_header = any(self.header)
        if self.title:
            table.title = Text(self.title)
        if not self.lines:
            table.box = None
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> TerminalTable:
    """Return a table without lines, all of whose columns are words."""
    return TerminalTable(header, rows, words=len(header), lines=False)
