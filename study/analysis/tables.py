"""Tables of words and numbers for the terminal and for Markdown."""

from rich.markup import escape
from rich.table import Table

# MLflow's reader takes a backslash before `<` for the start of a tag, up to whatever `>` is next,
# and shows the tables in between as one paragraph; it has no backslash for `@`, nor GitHub for `$`.
_MARKDOWN = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\|*_`[~"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;", "\n": " ", "\r": " "}
)


def rich_table(title: str, header: list[str], cells: list[list[str]], *, left: int) -> Table:
    """A table for the terminal; the first `left` columns hold words."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index < left else "right", overflow="fold")
    for row in cells:
        table.add_row(*(escape(cell) for cell in row))
    return table


def markdown_table(header: list[str], cells: list[list[str]]) -> str:
    """A Markdown table; cells are escaped."""
    rows = [
        header,
        ["---"] * len(header),
        *([markdown_text(cell) for cell in row] for row in cells),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def markdown_text(text: str) -> str:
    """Return text that Markdown readers show as it is, on one line."""
    return text.translate(_MARKDOWN)
