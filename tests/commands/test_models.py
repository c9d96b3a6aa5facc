"""The model that a command names: of a study its final model, also while it is extended."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from study.commands.extension import extend, extended_config
from study.commands.models import find_model
from study.config.trial_settings import TrialSettings
from study.errors import DataError
from study.results.best_configuration import extensions
from study.search.choice import beside_earlier
from study.storage.study_folder import DESCRIPTION
from study.trial.study import Candidate, Study
from tests.commands.conftest import Run, enter_place_of


def test_a_finished_study_answers_by_what_it_ships_and_no_other_does(finish: Any, tmp_path: Path):
    study = finish(tmp_path, "mine")
    found = find_model(str(study.folder.path), tmp_path)
    assert found.name == "the final model of study 'mine' (trial test-best-seed1)"
    (study.folder.path / DESCRIPTION).unlink()
    with pytest.raises(DataError, match=r"(?s)is not finished and .* clipfit-study resume"):
        find_model(str(study.folder.path), tmp_path)


@pytest.fixture
def finished(finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A finished study beside an image."""
    (tmp_path / "runs").mkdir()
    made = finish(tmp_path / "runs", "mine", linear=True)
    enter_place_of(made, monkeypatch)
    image = next((Path(__file__).parents[2] / "study/report/examples").glob("*.png"))
    shutil.copy(image, tmp_path / "1.png")
    study: Study = made.study
    return study


def extended_by(study: Study, trials: int) -> Study:
    config = extended_config(study, [f"search.trials=+{trials}"])
    extend(study, config)
    return Study(config, study.folder)


def choose_another(study: Study):
    """Let a study that is extended have a new best trial, which is not tested yet."""
    first, best = (Candidate.model_validate(c) for c in extensions(study)[-1]["candidates"])
    other = TrialSettings.from_column_values({"subset": "vision.ln", "ln_lr": 0.02})
    new = best.model_copy(
        update={"settings": other, "training": "other", "source_trial": "search-0002"}
    )
    study.write_candidates(beside_earlier(study, [first, new]))
    (study.folder.path / "trials/test-other-seed1").mkdir()


def test_while_a_study_is_extended_its_earlier_final_model_answers_and_says_so(
    finished: Study, run: Run, tmp_path: Path
):
    before = run("predict", "mine", "1.png")
    study = finished
    for number in range(3):
        if number == 1:
            choose_another(study)
        else:  # at the end, an extension that was interrupted is itself extended
            study = extended_by(study, 5)
        now = run("predict", "mine", "1.png")
        assert now.out == before.out
        assert "before its extension" in now.err
        exported = run("export", "mine", "--format", "hf", "--out", tmp_path / f"{number}")
        assert exported.code == 0
        assert "before its extension" in exported.out
    assert "before its extension" not in before.err


def test_a_study_that_had_no_final_model_before_its_extension_has_none(finished: Study, run: Run):
    (finished.folder.path / DESCRIPTION).unlink()
    extended_by(finished, 5)
    assert run("predict", "mine", "1.png").code == 2
