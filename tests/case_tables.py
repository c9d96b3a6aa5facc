"""Cases of tests that stand as a table in YAML beside them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

Test = TypeVar("Test", bound=Callable[..., object])


def from_table(test: Test) -> Test:
    """Run a test with each case of its table, which ``test_….yaml`` beside it has by its name.

    A table has the names of the test's arguments, and the cases. ``!tuple [a, b]`` is a tuple.
    """
    table = _tables(Path(test.__code__.co_filename).with_suffix(".yaml"))[test.__name__]
    mark: pytest.MarkDecorator = pytest.mark.parametrize(table["names"], table["cases"])
    return mark(test)


class _Loader(yaml.SafeLoader):
    """Reads tuples, too."""


def _tuple(loader: _Loader, node: yaml.SequenceNode) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))


_Loader.add_constructor("!tuple", _tuple)


@cache
def _tables(file: Path) -> dict[str, Any]:
    return dict(yaml.load(file.read_text(), _Loader))
