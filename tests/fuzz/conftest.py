"""Few cases by default; ``pytest --hypothesis-profile=whole tests/fuzz`` tries them all."""

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, settings

from study.errors import StudyError

LONGEST_MESSAGE = 100_000
"""Characters: an error that repeats a bomb is one itself."""

settings.register_profile(
    "whole",
    max_examples=10_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def few_cases() -> settings:
    """Try a quarter of the cases of other properties, since a file is read in each."""
    return settings(deadline=None, max_examples=settings().max_examples // 4)


@contextmanager
def study_errors_allowed() -> Iterator[None]:
    """Let the project's own errors pass, if they can be shown."""
    message = "none"
    try:
        yield
    except StudyError as error:
        message = str(error)
    assert 0 < len(message.encode(errors="surrogatepass")) < LONGEST_MESSAGE
