"""While a study runs, its best finished trial can be asked, and is called provisional."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from study.storage.study_folder import DESCRIPTION
from study.workflow.find_model import find_model
from tests.workflow.conftest import Run, enter_place_of


@pytest.fixture
def running(finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A study of three finished trials, which has chosen nothing yet."""
    (tmp_path / "runs").mkdir()
    study = finish(tmp_path / "runs", "mine", linear=True)
    enter_place_of(study, monkeypatch)
    for name in (DESCRIPTION, "candidates.json"):
        (study.folder.path / name).unlink()
    trained = study.folder.trial("confirm-best-seed1").path / "delta.safetensors"
    for number in (1, 2):
        shutil.copy(
            trained, study.folder.trial(f"search-000{number}").path / "delta-fold0.safetensors"
        )
    for path in study.folder.path.glob("trials/confirm-*"):
        shutil.rmtree(path)
    return study


def test_the_best_finished_trial_labels_images_and_is_said_to_be_provisional(
    running: Any, run: Run, tmp_path: Path
):
    image = next((Path(__file__).parents[2] / "study/report/examples").glob("*.png"))
    shutil.copy(image, tmp_path / "1.png")
    done = run("predict", "mine", "1.png", "--now")
    assert done.code == 0
    assert "trial search-0001 of study 'mine', which is provisional: 80.0%" in done.err
    assert "the best of 3 so far" in done.err
    assert "linear head" in done.err
    assert "1.png,digit " in done.out


def test_the_best_trial_that_has_tuned_parameters_is_taken(running: Any, tmp_path: Path):
    shutil.rmtree(running.folder.trial("search-0001").path)
    found = find_model("mine", tmp_path, now=True)
    assert found.origin is not None
    assert found.origin.trial == "search-0002"


def test_of_a_study_without_such_a_trial_there_is_none(running: Any, run: Run):
    for delta in running.folder.path.glob("trials/*/delta*"):
        delta.unlink()
    assert (
        "has no finished trial with tuned parameters yet"
        in run("predict", "mine", "x.png", "--now").err
    )


def test_without_being_asked_no_provisional_model_is_used_and_the_option_is_named(
    running: Any, run: Run
):
    assert "predict --now" in run("predict", "mine", "x.png").err


def test_a_finished_study_answers_by_what_it_ships(finish: Any, tmp_path: Path):
    study = finish(tmp_path, "mine")
    found = find_model(str(study.folder.path), tmp_path, now=True)
    assert found.name == "the winner of study 'mine' (trial confirm-best-seed1)"
