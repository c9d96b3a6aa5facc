"""What the tests of the data room share: miniature datasets and a dataset made of nothing."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.paper_dataset import ColorSource

# A machine under load must not fail a property by its clock.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

COOP_SPLITS = Path(__file__).parents[3] / "shared" / "data" / "coop_splits"


@pytest.fixture
def coop_splits() -> Path:
    """The folder with published split files, where a checkout has one."""
    if not COOP_SPLITS.is_dir():
        pytest.skip("published split files are not here")
    return COOP_SPLITS


@pytest.fixture
def colors() -> ColorSource:
    """A source of images without files."""
    return ColorSource()
