"""Tables for the terminal, Markdown and HTML, and CSV for other programs.

On the terminal they show all headers and cells at any width: a table that is too wide wraps its
words. If that is not enough, it is split into several, which repeat the first column.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import rich.table
from rich.cells import cell_len
from rich.text import Text

from study.report.visible_text import visible_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

CONTINUED = " (continued)"
"""The end of the title of each piece of a table after the first."""
_WORDS = 18
"""The least width of a column of words; the longest label has this width."""
_LONGEST_WORD = 32
"""The most characters of a word that is not broken; the names of most studies are shorter."""
# Entities where a backslash does not help: MLflow's reader takes `\<` for the start of a tag, up to
# the next `>`, and shows tables in between as one paragraph; it ignores `\@`, and GitHub `\$`.
_MARKDOWN = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\|*_`[~"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;", "\n": " ", "\r": " "}
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The beginnings of cells that a spreadsheet reads as formulas."""


@dataclass(frozen=True)
class Table:
    """A table for the terminal, Markdown and HTML; `rich` prints it directly."""

    title: str
    """What the table shows; may be empty."""
    header: Sequence[str]
    """The names of the columns; all empty for a table without a header."""
    rows: Sequence[Sequence[object]]
    """The cells of each row; None is an unknown value."""
    left: int = 1
    """The number of leading columns of words, aligned left; the others are aligned right."""
    marked: int | None = None
    """The index of the row that HTML highlights, if any."""
    note: str = ""
    """What a reader must know of the numbers, in sentences below the table; may be empty."""
    lines: bool = True
    """Whether the terminal shows lines between the cells."""

    @property
    def texts(self) -> list[list[str]]:
        """The texts of the cells; an unknown value is a dash."""
        return [["–" if cell is None else str(cell) for cell in row] for row in self.rows]

    def markdown(self) -> str:
        """Return the title as a heading, the table of escaped cells, and the note."""
        blocks = [f"## {markdown_text(self.title)}"] if self.title else []
        rows = [self.header, ["---"] * len(self.header)]
        rows += [[markdown_text(cell) for cell in row] for row in self.texts]
        blocks.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        if self.note:
            blocks.append(markdown_text(self.note))
        return "\n\n".join(blocks)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the pieces, with an empty line between those without lines, and the note."""
        rows = [list(map(visible_text, row)) for row in self.texts]
        for number, piece in enumerate(replace(self, rows=rows).pieces(options.max_width)):
            if number and not self.lines:
                yield Text("")
            yield piece._to_rich_table(options.max_width)
        if self.note:
            yield Text(self.note, style="dim")

    def pieces(self, width: int) -> Iterator[Table]:
        """Yield the table in pieces that fit a terminal of so many columns."""
        least = self._least_widths()
        count = 2
        while count < len(least) and sum(least[: count + 1]) <= self._space(width, count + 1):
            count += 1
        if count >= len(self.header):
            yield self
            return
        yield self.with_columns(range(count))
        remainder = self.with_columns([0, *range(count, len(self.header))])
        title = self.title and self.title.removesuffix(CONTINUED) + CONTINUED
        left = max(1, self.left - count + 1)
        yield from replace(remainder, title=title, left=left).pieces(width)

    def with_columns(self, columns: Sequence[int]) -> Table:
        """Return the table with some of its columns, by their indices."""
        header = [self.header[index] for index in columns]
        return replace(self, header=header, rows=[[row[n] for n in columns] for row in self.rows])

    def _space(self, width: int, columns: int) -> int:
        """Return how many characters of a line the cells of so many columns may take."""
        return width - 3 * columns - 1 if self.lines else width - 2 * columns

    def _least_widths(self) -> list[int]:
        """Return the width of each column if its header and its words are wrapped.

        A column without letters holds numbers, which stay on one line.
        """
        widths = []
        for name, *cells in zip(self.header, *self.texts, strict=True):
            width = max(map(cell_len, name.split() + cells), default=0)
            text = " ".join(cells)
            if any(map(str.isalpha, text)):
                longest = max(map(cell_len, text.split()))
                width = min(width, max(_WORDS, min(longest, _LONGEST_WORD)))
            widths.append(width)
        return widths

    def _widths(self, space: int) -> list[int]:
        """Return the width of each column, so that their sum is at most a number of characters."""
        columns = zip(self.header, *self.texts, strict=True)
        widths = [max(map(cell_len, column)) for column in columns]  # if nothing is wrapped
        # If the table cannot fit by its words, words and numbers are folded anywhere.
        for least in (self._least_widths(), [1] * len(widths)):
            while sum(widths) > space:
                shrinkable = [index for index, width in enumerate(widths) if width > least[index]]
                if not shrinkable:
                    break
                widths[max(shrinkable, key=widths.__getitem__)] -= 1
        return widths

    def _to_rich_table(self, width: int) -> rich.table.Table:
        columns = []
        widths = self._widths(self._space(width, len(self.header)))
        for index, (name, own) in enumerate(zip(self.header, widths, strict=True)):
            column = rich.table.Column(Text(name), overflow="fold", width=max(own, 1))
            if index >= self.left:
                column.justify = "right"
            columns.append(column)
        table = rich.table.Table(*columns, title_justify="left", title_style="bold")
        table.show_header = any(self.header)
        if self.title:
            table.title = Text(self.title)
        if not self.lines:
            table.box = None
        for row in self.texts:
            table.add_row(*map(Text, row))
        return table


def plain_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table without lines, all of whose columns are words."""
    return Table("", header, rows, left=len(header), lines=False)


def records_csv(records: Sequence[Mapping[str, object]]) -> str:
    """Return records as CSV, which all have the columns of the first."""
    # Programs read a table without rows, but no empty file.
    header = list(records[0]) if records else ["label"]
    return csv_text([header, *(list(record.values()) for record in records)])


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV, with values in full precision; an unknown value is an empty cell."""
    # Where lines end in "\n", the library leaves a cell with "\r" unquoted, which ends a line too.
    lines: list[str] = []
    csv.writer(SimpleNamespace(write=lines.append)).writerows(rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def spreadsheet_path(path: str) -> str:
    """Return a path for CSV: one that a spreadsheet would read as a formula gets ``./`` in front.

    That is the same path.
    """
    return f"./{path}" if path.startswith(_FORMULA) else path


def markdown_text(text: str) -> str:
    """Return text escaped so that Markdown readers show it unchanged, on one line."""
    return text.translate(_MARKDOWN)
