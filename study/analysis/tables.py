"""Tables of text cells for the terminal and for Markdown."""

from rich.markup import escape
from rich.table import Table

# Entities where a backslash does not help: MLflow's reader takes `\<` for the start of a tag, up to
# the next `>`, and shows tables in between as one paragraph; it ignores `\@`, and GitHub `\$`.
_MARKDOWN = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\|*_`[~"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;", "\n": " ", "\r": " "}
)


def rich_table(title: str, header: list[str], cells: list[list[str]], *, left: int) -> Table:
    """Return a table for the terminal; the first `left` columns are aligned left, others right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index < left else "right", overflow="fold")
    for row in cells:
        table.add_row(*(escape(cell) for cell in row))
    return table


def markdown_table(header: list[str], cells: list[list[str]]) -> str:
    """Return a Markdown table of escaped cells."""
    rows = [
        header,
        ["---"] * len(header),
        *([markdown_text(cell) for cell in row] for row in cells),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def markdown_text(text: str) -> str:
    """Return text escaped so that Markdown readers show it unchanged, on one line."""
    return text.translate(_MARKDOWN)
