"""Tables and amounts on the terminal: whatever its width, every header and every cell is there.

All tables that commands print are a `TerminalTable`. One that is too wide wraps its words, and
is then broken into several tables, which repeat the columns that name its rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

PIPED = 120
"""The number of columns that output has where it is no terminal, such as a pipe."""
CONTINUED = " (continued)"
"""What the title of a further piece of a table ends with."""
_WORDS = 18
"""The least width of a column of words, if they are longer; that of the longest label."""


def amount(number: float, name: str) -> str:
    """Return a number of things, such as “1 trial”, “8 trials” or “0.5 GPUs”."""
    written = f"{number:,}" if isinstance(number, int) else f"{number:,g}"
    return f"{written} {name}" if number == 1 else f"{written} {name}s"


def print_sentences(console: Console, text: str, style: str = "") -> None:
    """Print text that may be long: wrapped between words on a terminal, and whole elsewhere."""
    unwrapped = not console.is_terminal
    console.print(
        text, style=style, markup=False, highlight=False, emoji=False, soft_wrap=unwrapped
    )


def print_error(text: str) -> None:
    """Print an error on the standard error output: wrapped on a terminal, but for commands.

    A command is on one line, so that it can be pasted.
    """
    console = Console(stderr=True)
    for line in f"error: {text}".splitlines():
        if line.lstrip().startswith("clipfit-study "):
            console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            print_sentences(console, line)


@dataclass(frozen=True)
class TerminalTable:
    """A table as text, which rich prints in pieces that fit the terminal."""

    header: Sequence[str]
    """The names of the columns; all empty for a table without a header."""
    rows: Sequence[Sequence[str]]
    """The cells of each row."""
    title: str = ""
    """What the table shows; may be empty."""
    words: int = 1
    """The number of leading columns that are aligned left; the others are aligned right."""
    keys: int = 1
    """The number of leading columns that name a row, and so are repeated in each piece."""
    break_at: int | None = None
    """The number of columns before which a narrow terminal breaks the table, if it must."""
    lines: bool = True
    """Whether lines are drawn between the cells."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the pieces, for rich to print, with an empty line between those without lines."""
        for number, piece in enumerate(self.pieces(options.max_width)):
            if number and not self.lines:
                yield Text("")
            yield piece._drawn(options.max_width)

    def pieces(self, width: int) -> Iterator["TerminalTable"]:
        """Yield the table in pieces that fit a terminal.

        Args:
            width: the number of columns of the terminal.
        """
        count = self._fitting(width)
        if count >= len(self.header):
            yield self
            return
        at = min(count, self.break_at or count)
        title = self.title and f"{self.title.removesuffix(CONTINUED)}{CONTINUED}"
        words = max(self.keys, self.words - at + self.keys)
        yield self._with_columns([*range(at)])
        others = [*range(self.keys), *range(at, len(self.header))]
        rest = replace(self._with_columns(others), title=title, words=words, break_at=None)
        yield from rest.pieces(width)

    def _fitting(self, width: int) -> int:
        """Return how many of the columns fit beside each other, at least one after the keys."""
        least = self._least_widths()
        count = self.keys + 1
        while count < len(least) and sum(least[: count + 1]) <= self._room(width, count + 1):
            count += 1
        return count

    def _with_columns(self, columns: Sequence[int]) -> "TerminalTable":
        header = [self.header[index] for index in columns]
        rows = [[row[index] for index in columns] for row in self.rows]
        return replace(self, header=header, rows=rows)

    def _room(self, width: int, columns: int) -> int:
        """Return how many characters of a line are left for the cells."""
        around_each = 3 if self.lines else 2
        return width - around_each * columns - int(self.lines)

    def _natural_widths(self) -> list[int]:
        """Return the width of each column if nothing in it is wrapped."""
        columns = zip(self.header, *self.rows, strict=True)
        return [max(map(cell_len, cells)) for cells in columns]

    def _least_widths(self) -> list[int]:
        """Return the width of each column if its header and its words are wrapped.

        What has no letter is a number, and stays on one line.
        """
        widths = []
        for name, *cells in zip(self.header, *self.rows, strict=True):
            longest = max(map(cell_len, [*name.split(), *cells]), default=0)
            has_words = any(map(str.isalpha, "".join(cells)))
            widths.append(min(longest, _WORDS) if has_words else longest)
        return widths

    def _widths(self, room: int) -> list[int]:
        """Return the width of each column, so that all of them fit into a number of characters."""
        widths, least = self._natural_widths(), self._least_widths()
        while sum(widths) > room:
            wide = [index for index in range(len(widths)) if widths[index] > least[index]]
            # What fits by no means is folded, be it a number.
            wide = wide or [index for index in range(len(widths)) if widths[index] > 1]
            if not wide:
                break
            widest = max(wide, key=lambda index: widths[index])
            widths[widest] -= 1
        return widths

    def _drawn(self, width: int) -> Table:
        widths = self._widths(self._room(width, len(self.header)))
        columns = []
        for index, (name, own) in enumerate(zip(self.header, widths, strict=True)):
            column = Column(Text(name), overflow="fold", width=max(own, 1))
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
