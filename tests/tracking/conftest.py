"""What tests of trackers share: folders written by hand."""

from pathlib import Path

import pytest

from tests.study_writer import MakeStudy, StudyWriter


@pytest.fixture
def make(tmp_path: Path) -> MakeStudy:
    """Makes a study of a name, without trials."""
    return lambda name: StudyWriter(tmp_path / name)


@pytest.fixture
def study(make: MakeStudy) -> StudyWriter:
    return make("mine")
