r"""Text for a terminal, without characters that the terminal would obey.

Names of files may hold any of them: an escape sequence can delete lines, rename the window or
imitate a message.
"""

import logging
import re

_OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible_text(text: str) -> str:
    r"""Return text with control characters written as codes, such as ``\x1b``.

    So are the characters that reverse the order of others, and the halves of characters that stand
    for bytes which are not UTF-8. Tabs and ends of lines stay.
    """
    return _OBEYED.sub(lambda match: ascii(match[0])[1:-1], text)


class VisibleFormatter(logging.Formatter):
    """The form of log messages on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a message as `visible_text`."""
        return visible_text(super().format(record))
