"""Cells of words and numbers are shown as they are, on one line."""

import io

import pytest
from rich.console import Console

from study.analysis.tables import markdown_table, markdown_text, rich_table


def test_a_cell_of_many_lines_is_one_row_of_markdown() -> None:
    text = markdown_table(["cause"], [["p < 0.001\nof a|b"]])
    assert text == "| cause |\n| --- |\n| p &lt; 0.001 of a\\|b |"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("vision.ln[0:2]", "vision.ln\\[0:2]"),
        ("*a* _b_ `c` ~d~", "\\*a\\* \\_b\\_ \\`c\\` \\~d\\~"),
        ("<b> & $m$ @n", "&lt;b&gt; &amp; &#36;m&#36; &#64;n"),
        ("+0.4 ± 0.1 %", "+0.4 ± 0.1 %"),
    ],
)
def test_marks_of_markdown_are_escaped_and_others_left(text: str, escaped: str) -> None:
    assert markdown_text(text) == escaped


def test_a_terminal_shows_brackets_and_keeps_numbers_to_the_right() -> None:
    table = rich_table("Title", ["cell", "s"], [["[bold]x[/bold]", "7"]], left=1)
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(table)
    assert "[bold]x[/bold]" in console.export_text()
    assert [column.justify for column in table.columns] == ["left", "right"]
