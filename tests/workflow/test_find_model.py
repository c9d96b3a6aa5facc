"""The model that a command names: of a study, what ships once it is finished."""

from pathlib import Path
from typing import Any

import pytest

from study.errors import DataError
from study.storage.study_folder import DESCRIPTION
from study.workflow.find_model import find_model


def test_a_finished_study_answers_by_what_it_ships_and_no_other_does(finish: Any, tmp_path: Path):
    study = finish(tmp_path, "mine")
    found = find_model(str(study.folder.path), tmp_path)
    assert found.name == "the final model of study 'mine' (trial confirm-best-seed1)"
    (study.folder.path / DESCRIPTION).unlink()
    with pytest.raises(DataError, match=r"(?s)is not finished, .* clipfit-study resume"):
        find_model(str(study.folder.path), tmp_path)
