"""The errors that a user can fix: a message says what is wrong, where, and what is allowed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

SECRET_OF_A_QUERY = re.compile(
    r"([?&;][^=&\s]*(?:passw|pwd|token|secret|api_?key|access_?key|odbc_connect)[^=&\s]*=)"
    r"[^&\s'\"]*",
    re.IGNORECASE,
)
"""A secret in the query of a database URL; the first group is the text before its value."""


MOST_FAULTS = 50
"""The largest number of faults in a message."""
INTERRUPTED = 130
"""The exit code of an interrupted study, and of a command that Ctrl-C has ended."""


class StudyError(Exception):
    """A fault that a user can fix; shown as one message, without a traceback."""


class SubsetError(StudyError, ValueError):
    """A subset expression that cannot be parsed, or that names parameters a model lacks."""


class BackboneError(StudyError):
    """A checkpoint that cannot be found, read or used."""


class DataError(StudyError):
    """A dataset, split file or image that is missing, corrupt or too small."""


class ConfigError(StudyError):
    """One or more faults of a configuration, reported together."""


@dataclass(frozen=True)
class Fault:
    """A fault that a user can fix."""

    key: str
    """The dotted key of the configuration that it is about, a section, or a variable such as
    ``RAY_ADDRESS``; empty where it is about none."""
    message: str
    """What is wrong, and what is allowed."""

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class FaultsError(ConfigError):
    """Several faults, reported together."""

    def __init__(self, heading: str, faults: Sequence[Fault]) -> None:
        noun = "fault" if len(faults) == 1 else "faults"
        lines = [f"{heading} {len(faults)} {noun}:", *map(str, faults[:MOST_FAULTS])]
        super().__init__("\n  ".join(lines))
        self.faults = list(faults)


class FormatError(StudyError):
    """A file was written in a format that this version does not read."""


class DeltaError(StudyError):
    """A file of tuned parameters that is corrupt or belongs to another model."""


class InterruptedStudyError(StudyError):
    """A study that was asked to stop before all its trials had ended."""


class ClusterError(StudyError):
    """A Ray that does not start, or a worker that does not answer."""


class TrackingError(StudyError):
    """A tracking server or store that cannot be reached or used."""


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return a hint with the known name that a mistyped one may mean, or an empty text."""
    close = get_close_matches(name, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def redacted_text(text: str) -> str:
    """Return a message with the credentials in its URLs replaced by ``***``."""
    text = re.sub(r"(?<=://)\S*@", "***@", text)
    return SECRET_OF_A_QUERY.sub(r"\1***", text)


def first_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain of causes, which may pass through several libraries."""
    earlier = error.__cause__ or error.__context__
    if earlier is None:
        return error
    return first_cause(earlier)
