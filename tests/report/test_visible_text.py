"""Text that a terminal does not obey."""

import logging

from study.report.visible_text import VisibleFormatter, visible_text
from tests.case_tables import from_table


@from_table
def test_what_a_terminal_would_obey_is_written_as_a_code(text: str, shown: str):
    assert visible_text(text) == shown
    assert visible_text(shown) == shown


def test_a_log_message_is_shown_so():
    record = logging.makeLogRecord({"msg": "skipped: %s", "args": ("\x1b[2J.png",)})
    assert VisibleFormatter("%(message)s").format(record) == "skipped: \\x1b[2J.png"
