"""How the commands of this room end."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps

from study.errors import StudyError


def command(main: Callable[[Sequence[str] | None], None]) -> Callable[..., int]:
    """Let a command return its exit code: 2, after a message, where it raises a `StudyError`."""

    @wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        try:
            main(arguments)
        except StudyError as error:
            print(error, file=sys.stderr)
            return 2
        return 0

    return run
