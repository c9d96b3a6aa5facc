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

    A table has the names of the test's arguments, and the cases.
    """
    table = _tables(Path(test.__code__.co_filename).with_suffix(".yaml"))[test.__name__]
    mark: pytest.MarkDecorator = pytest.mark.parametrize(table["names"], table["cases"])
    return mark(test)


@cache
def _tables(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text()))
