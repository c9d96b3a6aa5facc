"""What tests of the library share: a finished study."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="package")
def runs(finish: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage that has a finished study, ``mine``."""
    runs = tmp_path_factory.mktemp("library")
    finish(runs, "mine")
    return runs
