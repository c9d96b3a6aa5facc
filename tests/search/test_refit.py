"""What ships is trained once more, on the validation images too."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.search.refit import candidate_to_refit, run_refit
from study.storage.trial_folder import End, TrialFolder
from study.trial.predictions import read_predictions
from study.trial.study import Study, best_candidate
from tests.in_process import trials_in_process
from tests.not_none import not_none
from tests.tiny_study import TinyStudy, untimed


@pytest.fixture(scope="module")
def refitted(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyStudy]:
    """A study that has come to its end, but for what is written then; its trials are run here."""
    tiny = TinyStudy(
        tmp_path_factory.mktemp("runs"),
        "refitted",
        tiny_backbone,
        search={
            "trials": 5,
            "selection": "folds",
            "folds": 2,
            "asha": None,
            "space": {"heads": ["text", "linear"]},
            "baselines": {
                "zero-shot": {"subset": "none"},
                "clipfit": {"subset": "clipfit", "rates": {"bias": 0.02, "ln": 0.02}},
            },
        },
        training={"epochs": 2, "batch_size": 8},
        confirm={"seeds": [1, 2], "runners_up": 0},
        refit={"images": "labelled"},
    )
    with trials_in_process():
        tiny.search()
        tiny.confirm()
        refit(tiny)
        yield tiny


def refit(tiny: TinyStudy):
    study = Study(tiny.config, tiny.folder)
    run_refit(study, not_none(candidate_to_refit(study)), tiny.preparer, [tiny.heard])


def the_refit(tiny: TinyStudy) -> TrialFolder:
    (trial,) = [t for t in tiny.folder.trials() if t.trial_id.startswith("refit-")]
    return trial


def test_the_best_configuration_learns_from_validation_images_too_and_is_tested_once(
    refitted: TinyStudy,
):
    shots = refitted.preparer.shots(1)
    data = refitted.preparer.refit()
    assert {*data.tasks[0].train.records} == {*shots.train, *shots.val}
    trial = the_refit(refitted)
    best = not_none(best_candidate(refitted.study.candidates()))
    assert trial.read_config()["settings"] == best.settings.model_dump(mode="json")
    *epochs, last = trial.read_reports()
    assert not any("test_score" in report for report in epochs)
    tested = {p.path for p in read_predictions(refitted.folder, trial.trial_id)}
    assert last["test_score"] > 0
    assert tested == {record.path for record in refitted.study.dataset.test}
    assert (trial.path / "delta.safetensors").exists()


def test_a_refit_that_is_lost_is_trained_again(refitted: TinyStudy):
    trial = the_refit(refitted)
    before = untimed(trial), (trial.path / "delta.safetensors").read_bytes()
    shutil.rmtree(trial.path)
    refit(refitted)
    assert before == (untimed(trial), (trial.path / "delta.safetensors").read_bytes())


def test_a_refit_that_failed_is_tried_again(refitted: TinyStudy):
    trial = the_refit(refitted)
    trial.write_end(End("failed", 1, 1.0))
    refit(refitted)
    assert trial.has_finished()
