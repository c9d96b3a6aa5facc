"""The errors a user can mend: each message says what was wrong, where, and what is allowed."""

import re


class StudyError(Exception):
    """A fault that a user can mend; shown as one message, without a traceback."""


class SubsetError(StudyError):
    """A subset expression that does not parse, or names what a model does not have."""


class BackboneError(StudyError):
    """A checkpoint that cannot be found, read or used."""


class DataError(StudyError):
    """A dataset, split file or image that is missing, corrupt or too small."""


class ConfigError(StudyError):
    """One or more faults of a configuration, reported together."""


class DeltaError(StudyError):
    """A file of tuned parameters that is corrupt or belongs to another model."""


class TrackingError(StudyError):
    """A tracking server or store that cannot be reached or used."""


def without_secrets(text: str) -> str:
    """Take the passwords of addresses out of a message, which may quote what the user wrote."""
    text = re.sub(r"(?<=://)[^\s'\"]*@", "***@", text)
    return re.sub(r"([?&;]\w*(?:passw|pwd|token|secret|key)\w*=)[^&\s'\"]*", r"\1***", text)
