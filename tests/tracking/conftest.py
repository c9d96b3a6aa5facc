"""What tests of trackers share: folders written by hand."""

from pathlib import Path

import pytest

from tests.written_study import MakeStudy, Written


@pytest.fixture
def make(tmp_path: Path) -> MakeStudy:
    """Makes a study of a name, without trials."""
    return lambda name: Written(tmp_path, name)


@pytest.fixture
def study(make: MakeStudy) -> Written:
    return make("mine")
