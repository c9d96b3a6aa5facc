"""Studies and models are found by the names that a command line gives them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from study.commands.extend import extend, extended_config
from study.commands.find import find_study, load_study
from study.config.loading import build_config, dump_config
from study.errors import ConfigError
from study.results.best_configuration import extensions
from study.search.candidates import with_earlier_candidates
from study.storage.study_folder import StudyFolder
from study.trial.study import Candidate, Study
from tests.commands.conftest import Run
from tests.settings import settings


def test_a_study_is_named_by_its_name_or_by_a_path(
    mine: StudyFolder, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(here))
    for name in ("mine", "./runs/mine/", str(mine.path), "~/runs/mine"):
        assert find_study(name).path.samefile(mine.path), name
    assert find_study("mine", "~/runs").path.samefile(mine.path)
    monkeypatch.chdir(mine.path)
    assert find_study(".").name == "mine"
    with pytest.raises(ConfigError, match=r"did you mean 'mine'\?"):
        find_study("mime", here / "runs")
    monkeypatch.setenv("STUDY_STORAGE", str(here / "runs"))
    assert find_study("mine").name == "mine"


COMMANDS = (["resume", "mine"], ["sync", "mine"])
"""The commands that take settings which change no result."""


@pytest.fixture
def frozen(here: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: str) -> StudyFolder:
    """A study in the working folder's ``runs``."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    folder = StudyFolder(here / "runs" / "mine")
    folder.create(dump_config(build_config({"name": "mine", "search": {"trials": 10}}, "test")), {})
    folder.trial("search-0000").create({"number": 0, "stage": "search"})
    return folder


@pytest.mark.parametrize("name", ["study.yaml", "identity.json", "trials"])
@pytest.mark.parametrize("lost", [True, False])
def test_what_is_lost_or_changed_is_requested_by_every_command(
    frozen: StudyFolder, refused: Callable[..., str], name: str, lost: bool
):
    path = frozen.path / name
    path.rename(path.with_name("kept"))
    if not lost:
        path.write_text("changed")
    for command in (*COMMANDS, ["status", "mine"], ["extend", "mine", "search.trials=+8"]):
        assert f"mine/{name}" in refused(*command)


def test_overrides_that_change_results_are_refused_by_key_with_both_values(
    frozen: StudyFolder, refused: Callable[..., str]
):
    overrides = ["seed=3", "resources.max_concurrent=2", "search.asha=null", "data={shots: 4}"]
    for command in COMMANDS:
        message = refused(*command, *overrides)
        assert "seed: the study has 1, got 3" in message
        assert "data.shots: the study has 16, got 4" in message
        assert "search.asha.grace_period: the study has 3, got None" in message
        assert "max_concurrent" not in message
        assert "data.augment" not in message


def test_what_changes_no_result_may_change(frozen: StudyFolder, here: Path):
    overrides = ["resources={cpus_per_trial: 2}", "tracking.experiment=mine"]
    moved = StudyFolder((here / "runs").rename(here / "elsewhere") / "mine")
    resumed = load_study(moved, [*overrides, "seed=1", "data.shots=16"]).config
    assert resumed.resources.cpus_per_trial == 2
    assert resumed.tracking.experiment == "mine"
    assert resumed.storage == here / "elsewhere"


def extended_by(study: Study, trials: int) -> Study:
    config = extended_config(study, [f"search.trials=+{trials}"])
    extend(study, config)
    return study.with_config(config)


def choose_another(study: Study):
    """Let a study that is extended have a new best trial, which is not tested yet."""
    first, best = (Candidate.model_validate(c) for c in extensions(study)[-1]["candidates"])
    new = {"settings": settings("vision.ln", ln=0.02), "training": "other"}
    other = best.model_copy(update={**new, "source_trial": "search-0002"})
    study.write_candidates(with_earlier_candidates(study, [first, other]))
    (study.folder.path / "trials/test-other-seed1").mkdir()


def test_while_a_study_is_extended_its_earlier_final_model_answers_and_says_so(
    finish: Any, run: Run, here: Path
):
    study = finish(here / "runs", "mine", linear=True).study
    Image.new("L", (8, 8)).save("1.png")
    before = run("predict", "mine", "1.png")
    for number in range(3):
        if number == 1:
            choose_another(study)
        else:  # at the end, an extension that was interrupted is itself extended
            study = extended_by(study, 5)
        now = run("predict", "mine", "1.png")
        assert now.out == before.out
        assert "before its extension" in now.err
    exported = run("export", "mine", "--format", "hf", "--out", here / "out")
    assert exported.code == 0
    assert "before its extension" in exported.out
    assert "before its extension" not in before.err
