"""Few cases by default; ``pytest --hypothesis-profile=whole tests/fuzz`` tries them all."""

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, settings

settings.register_profile(
    "whole",
    max_examples=2_500,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of everything in a document."""
    inner = enumerate(tree) if isinstance(tree, list) else ()
    for key, value in tree.items() if isinstance(tree, dict) else inner:
        yield (*path, key)
        yield from places(value, (*path, key))
