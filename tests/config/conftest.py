"""What the tests of this room share."""

from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An empty file, which is the default study."""
    path = tmp_path / "mine.yaml"
    path.write_text("")
    return path
