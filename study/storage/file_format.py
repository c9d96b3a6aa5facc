"""The format number of the files of a study, and of files of tuned parameters."""

from pathlib import Path

from study.errors import FormatError

FORMAT = 2
"""The number of this version; it grows when files of an earlier form can no longer be read."""
KEY = "format"
"""The key that the number has in a file."""


def refuse_other_format(file: Path | str, number: object) -> None:
    """Raise an error if a file is of another format than this version reads.

    Args:
        file: the file, for the message.
        number: the number that the file has; None means none.

    Raises:
        FormatError: it is.
    """
    if str(number) != str(FORMAT):  # true is 1 to Python
        format_of_file = f"format {str(number)[:100]}"
        if number is None:
            format_of_file = "no format number"
        raise FormatError(
            f"{file} has {format_of_file}, and this version of clipfit-study reads format "
            f"{FORMAT}; use it with the version that wrote it, or make it again"
        )
