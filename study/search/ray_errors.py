"""Find the cause in an error of Ray, whose text also has tracebacks, codes, ids and advice."""

import re

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CALL = re.compile(r"^(?:RPC error: |RPC Error message: |Failed to [\w ]+ server: )+", re.IGNORECASE)
"""What Ray writes before the cause of a call that failed."""
KIND = re.compile(r"^[A-Z][A-Za-z]*: ")
"""The name of a kind of failure, which the words after it repeat."""
DETAILS = re.compile(r";?\s*(?:RPC Error details:|rpc_code:).*", re.IGNORECASE | re.DOTALL)
LAST = "last error: "
"""What stands before the cause where all addresses of a machine were tried."""
SENTENCE = re.compile(r"(?<=[\w)])\.(?:\s.*)?$", re.DOTALL)
"""The rest of a text after its first sentence, which is advice of Ray's."""
EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*", re.MULTILINE)
"""The line of a traceback that has the exception."""
RAISED = "ray::"
"""The start of a traceback from Ray; its message about a worker that died contains none."""


def cause_of(error: BaseException | str) -> str:
    """Return the cause in an error of Ray in one line.

    Args:
        error: the error, or its text.

    Returns:
        The last exception if the error has a worker's traceback; else the first sentence that says
        why a call failed.
    """
    text = COLOURS.sub("", str(error)).strip()
    lines = EXCEPTION.findall(text)
    if RAISED in text and lines:
        return lines[-1].strip()
    line = text.partition("\n")[0]
    line = DETAILS.sub("", CALL.sub("", line))
    if LAST in line:
        line = line.rpartition(LAST)[2]
    line = SENTENCE.sub("", KIND.sub("", line)).strip()
    return line or type(error).__name__
