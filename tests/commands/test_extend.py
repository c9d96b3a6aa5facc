"""The command ``extend``."""

from collections.abc import Callable


def test_a_study_that_cannot_go_on_is_not_extended(left_alone: Callable[..., None]):
    left_alone("extend", "search.trials=+2")
