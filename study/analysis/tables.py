"""The one type of a table, and how it is shown on the terminal, as Markdown and as CSV.

The report's template shows its `texts` as HTML.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.markup import escape
from rich.table import Table as RichTable

# Entities where a backslash does not help: MLflow's reader takes `\<` for the start of a tag, up to
# the next `>`, and shows tables in between as one paragraph; it ignores `\@`, and GitHub `\$`.
_MARKDOWN = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\|*_`[~"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;", "\n": " ", "\r": " "}
)


@dataclass(frozen=True)
class Table:
    """A table; `rich` prints it as it is."""

    title: str
    """What the table shows; may be empty."""
    header: Sequence[str]
    """The names of the columns."""
    rows: Sequence[Sequence[object]]
    """The cells of each row: text, or values, which CSV holds in full precision."""
    left: int = 1
    """The number of leading columns that hold words and are aligned left, others right."""
    marked: int | None = None
    """The index of the row that HTML highlights, if any."""
    note: str = ""
    """A sentence below the table in Markdown; may be empty."""

    @classmethod
    def of(cls, records: Sequence[Mapping[str, object]]) -> Table:
        """Return the table of records that all have the columns of the first."""
        header = [name for record in records[:1] for name in record]
        return cls("", header, [list(record.values()) for record in records])

    @property
    def texts(self) -> list[list[str]]:
        """The cells as they are shown: an unknown value is a dash."""
        return [["–" if cell is None else str(cell) for cell in row] for row in self.rows]

    def split(self, at: int, title: str) -> tuple[Table, Table]:
        """Return the columns before `at`, and under another title the others, beside the first."""
        before = replace(self, header=self.header[:at], rows=[row[:at] for row in self.rows])
        header, rows = self.header, [[*row[:1], *row[at:]] for row in self.rows]
        return before, replace(self, title=title, header=[*header[:1], *header[at:]], rows=rows)

    def __rich__(self) -> RichTable:
        """Return the table for the terminal."""
        table = RichTable(title=self.title, title_justify="left", title_style="bold")
        for index, name in enumerate(self.header):
            table.add_column(
                name, justify="left" if index < self.left else "right", overflow="fold"
            )
        for row in self.texts:
            table.add_row(*map(escape, row))
        return table

    def markdown(self) -> str:
        """Return the title as a heading, the table of escaped cells, and the note."""
        rows = [self.header, ["---"] * len(self.header)]
        rows += [[markdown_text(cell) for cell in row] for row in self.texts]
        lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        heading = self.title and f"## {markdown_text(self.title)}"
        return "\n\n".join(filter(None, (heading, lines, markdown_text(self.note))))

    def csv(self) -> str:
        """Return the table as CSV, for other programs."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()


def markdown_text(text: str) -> str:
    """Return text escaped so that Markdown readers show it unchanged, on one line."""
    return text.translate(_MARKDOWN)
