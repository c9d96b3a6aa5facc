"""What a study began with, and what it goes on with."""

from importlib.metadata import version
from pathlib import Path

import pytest

from study.commands.origin import compare_with_origin, study_origin
from study.storage.ledger_files import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from tests.case_tables import from_table
from tests.written_study import Written


@pytest.fixture
def mine(tmp_path: Path) -> Study:
    """A study that has not begun, on the embedded backbone."""
    return Study(Written(tmp_path, "written").config, StudyFolder(tmp_path / "mine"))


@from_table
def test_a_study_whose_images_were_read_otherwise_goes_on_with_a_warning(
    mine: Study, caplog: pytest.LogCaptureFixture, kept: JsonObject, warning: str
):
    mine.folder.create("", study_origin(mine, ("mlflow",)) | kept)
    compare_with_origin(mine)
    assert warning in caplog.text
    assert bool(caplog.text) == bool(warning)


def test_the_origin_has_versions(mine: Study):
    origin = study_origin(mine, ("mlflow",))
    assert origin["ray_version"] == version("ray")
    assert origin["mlflow_version"] == version("mlflow")
    assert "mlflow_version" not in study_origin(mine, ())
