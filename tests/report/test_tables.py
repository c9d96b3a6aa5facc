"""Tables lose nothing on a narrow terminal: they are wrapped, then broken into several."""

import csv
import io
import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from study.report.tables import Table, csv_text, markdown_text, plain_table, records_csv
from study.report.terminal import print_csv, print_error, print_sentences
from study.report.visible_text import VisibleFormatter, visible_text
from tests.screens import characters, terminal


def shown(table: Table, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("is_terminal, lines", [(True, 3), (False, 1)])
def test_sentences_are_wrapped_between_words_on_a_terminal_alone(is_terminal: bool, lines: int):
    file = io.StringIO()
    console = Console(width=20, file=file, force_terminal=is_terminal, color_system=None)
    text = "a sentence of words [that] is longer than 20"
    print_sentences(console, text, "yellow")
    printed = file.getvalue().splitlines()
    assert len(printed) == lines
    assert " ".join(line.strip() for line in printed) == text


def test_an_error_is_wrapped_between_words_and_its_command_is_whole():
    words = " ".join(f"word{number}" for number in range(30))
    command = f"    clipfit-study resume {'a-long-name' * 9}"
    with terminal() as screen:
        print_error(f"{words}\n{command}")
    *text, last = screen.shown.splitlines()
    assert len(text) > 2
    assert " ".join(line.strip() for line in text) == f"error: {words}"
    assert last == command


TEXTS = st.text(alphabet="ab .5±[é–字", max_size=40).map(lambda text: " ".join(text.split()))


@given(
    st.integers(2, 9).flatmap(
        lambda count: st.lists(
            st.lists(TEXTS, min_size=count, max_size=count), min_size=2, max_size=5
        )
    ),
    st.integers(60, 130),
)
def test_whatever_is_in_the_cells_is_on_the_screen(cells: list[list[str]], width: int):
    header, *rows = cells
    header = [f"{name} h{number}" for number, name in enumerate(header)]
    table = Table("", header, rows)
    screen = shown(table, width)
    assert max(map(cell_len, screen.splitlines())) <= width
    first, *others = table.pieces(width)
    assert [*first.header, *(name for piece in others for name in piece.header[1:])] == header
    texts = []
    for piece in (first, *others):
        texts += ["".join(row) for row in (piece.header, *piece.texts)]
    assert characters(screen) == characters("".join(texts))


NUMBERS = Table("All", ["a", "b", *"cdef"], [["x", "y", *["1234567890"] * 4]])


def test_a_broken_table_repeats_the_column_that_names_its_rows():
    pieces = [*NUMBERS.pieces(40)]
    assert ["".join(piece.header) for piece in pieces] == ["abcd", "aef"]
    assert [piece.title for piece in pieces] == ["All", "All (continued)"]
    assert {piece.left for piece in replace(NUMBERS, left=2).pieces(40)} == {2, 1}
    assert list(NUMBERS.pieces(200)) == [NUMBERS]


def test_a_table_without_lines_has_an_empty_line_before_each_piece_and_its_note_last():
    table = Table("", ["name", "a", "b"], [["x", "1" * 30, "2" * 30]], lines=False, note="Note.")
    pieces = [piece.split() for piece in shown(table, 60).split("\n\n")]
    assert pieces == [["name", "a", "x", "1" * 30], ["name", "b", "x", "2" * 30, "Note."]]
    assert shown(plain_table(["", ""], [["word", "some text"]]), 60).split() == [
        *("word", "some", "text")
    ]


def test_texts_are_shown_as_they_are_and_a_terminal_obeys_none():
    table = Table("[dim]t[/]", ["[red]n[/]", "s"], [["[bold]x[/bold] :cat:", "7"]])
    for text in ("[red]n[/]", "[bold]x[/bold] :cat:", "[dim]t[/]"):
        assert text in shown(table, 60)
    table = Table("", ["path"], [["\x1b[31mred.png"], ["a\u202eb"]])
    assert "│ \\x1b[31mred.png │" in shown(table, 60)
    assert "│ a\\u202eb        │" in shown(table, 60)
    with terminal() as screen:
        print_csv("a\x1b[2J.png,cat\n")
        print_error("b\x1b[2J.png")
    assert screen.shown.split() == ["a\\x1b[2J.png,cat", "error:", "b\\x1b[2J.png"]


def test_unknown_values_are_dashes_and_marks_of_markdown_are_escaped():
    table = Table("Of *a*", ["cell", "s"], [["x", 0.1 + 0.2], [None, 3]], note="s < 1.")
    assert csv_text([table.header, *table.rows]) == "cell,s\nx,0.30000000000000004\n,3\n"
    assert records_csv([]) == "label\n"
    head, rows, note = table.markdown().split("\n\n")
    assert (head, note) == ("## Of \\*a\\*", "s &lt; 1.")
    assert rows.splitlines()[1:] == ["| --- | --- |", "| x | 0.30000000000000004 |", "| – | 3 |"]
    for text, escaped in (
        ("vision.ln[0:2] *a* _b_ `c` ~d~ e|f", r"vision.ln\[0:2] \*a\* \_b\_ \`c\` \~d\~ e\|f"),
        ("<b> &\n$m$ @n", "&lt;b&gt; &amp; &#36;m&#36; &#64;n"),
        ("+0.4 ± 0.1 %", "+0.4 ± 0.1 %"),
    ):
        assert markdown_text(text) == escaped


def test_a_cell_of_csv_stays_one_cell_whatever_is_in_it():
    row = ["cr\rover.png", "crlf\r\n", "new\nline", 'a,"b"', "plain", ""]
    text = csv_text([row, ["next"]])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [row, ["next"]]
    assert text.endswith(",plain,\nnext\n")


@pytest.mark.parametrize(
    "text, shown",
    [
        ("\x1b[31mred\x1b[0m.png", r"\x1b[31mred\x1b[0m.png"),
        ("a\rb\bc\x7f\u2028", r"a\rb\x08c\x7f\u2028"),
        ("evil\u202egnp.exe\u2066", r"evil\u202egnp.exe\u2066"),
        ("a\tb\nc naïve 🧑\u200d🔬 עברית", "a\tb\nc naïve 🧑\u200d🔬 עברית"),
    ],
)
def test_what_a_terminal_would_obey_is_written_as_a_code(text: str, shown: str):
    assert visible_text(text) == visible_text(shown) == shown
    record = logging.makeLogRecord({"msg": "skipped: %s", "args": (text,)})
    assert VisibleFormatter("%(message)s").format(record) == f"skipped: {shown}"
