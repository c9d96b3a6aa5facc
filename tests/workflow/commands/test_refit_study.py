"""The command ``refit``."""

from collections.abc import Callable


def test_a_study_that_cannot_go_on_is_not_refitted(left_alone: Callable[..., None]):
    left_alone("refit", "refit.images=pool")
