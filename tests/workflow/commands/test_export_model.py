"""The command ``export``."""

from collections.abc import Callable
from pathlib import Path


def test_a_model_that_is_none_is_refused_before_anything_else(
    here: Path, refused: Callable[..., str]
):
    told = refused("export", "mine", "storage=elsewhere", "--format", "zip", "--out", here / "out")
    assert "no study 'mine' in elsewhere" in told
