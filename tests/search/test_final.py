"""The final model is trained on the validation images too, and tested once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from study.search.final import run_final, stop_other_final_trials

from study.storage.trial_folder import End, TrialFolder
from study.trial.predictions import read_predictions
from study.trial.prepare import Preparer
from study.trial.study import Study, best_candidate
from tests.in_process import trials_in_process
from tests.not_none import not_none
from tests.settings import FEW
from tests.tiny_study import TinyStudy, untimed


@pytest.fixture(scope="module")
def finished(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyStudy]:
    """A study that has come to its end, but for what is written then; its trials are run here."""
    tiny = TinyStudy(
        tmp_path_factory.mktemp("runs"),
        "finished",
        tiny_backbone,
        search={
            "trials": 5,
            "selection": "folds",
            "folds": 2,
            "asha": None,
            "heads": ["text", "linear"],
            "baselines": {
                **FEW,
                "zero-shot": {"subset": "none"},
                "clipfit": {"subset": "clipfit", "rates": {"bias": 0.02, "ln": 0.02}},
            },
        },
        training={"epochs": 2, "batch_size": 8},
        test={"seeds": [1, 2], "runners_up": 0},
        final={"images": "labelled"},
    )
    with trials_in_process():
        tiny.search()
        tiny.test()
        train(tiny)
        yield tiny


def train(tiny: TinyStudy):
    run_final(Study(tiny.config, tiny.folder), tiny.preparer, [tiny.heard])


def final_trial(tiny: TinyStudy) -> TrialFolder:
    (trial,) = [t for t in tiny.folder.trials() if t.trial_id.startswith("final-")]
    return trial


def test_the_best_configuration_learns_from_validation_images_too_and_is_tested_once(
    finished: TinyStudy,
):
    shots = finished.preparer.shots(1)
    data = finished.preparer.final()
    assert {*data.tasks[0].train.records} == {*shots.train, *shots.val}
    trial = final_trial(finished)
    best = not_none(best_candidate(finished.study.candidates()))
    assert trial.read_config()["settings"] == best.settings.model_dump(mode="json")
    *epochs, last = trial.read_reports()
    assert not any("test_score" in report for report in epochs)
    tested = {p.path for p in read_predictions(finished.folder, trial.trial_id)}
    assert last["test_score"] > 0
    assert tested == {record.path for record in finished.study.dataset.test}
    assert (trial.path / "delta.safetensors").exists()


def test_a_final_training_that_is_lost_is_trained_again(finished: TinyStudy):
    trial = final_trial(finished)
    before = untimed(trial), (trial.path / "delta.safetensors").read_bytes()
    shutil.rmtree(trial.path)
    train(finished)
    assert before == (untimed(trial), (trial.path / "delta.safetensors").read_bytes())


def test_a_final_training_that_failed_is_tried_again(finished: TinyStudy):
    trial = final_trial(finished)
    trial.write_end(End("failed", 1, 1.0))
    train(finished)
    assert trial.has_finished()


def test_another_final_model_learns_from_test_images_and_leaves_no_training_open(
    finished: TinyStudy,
):
    left = final_trial(finished)
    left.reopen()
    config = finished.config.with_section("final", images="everything")
    study = finished.study.with_config(config)
    stop_other_final_trials(study, "final-everything", [finished.heard])
    assert not_none(left.read_end()).status == "stopped"
    preparer = Preparer(study, finished.architecture.image_size)
    run_final(study, preparer, [finished.heard])
    dataset = study.dataset
    trained = {*preparer.final().tasks[0].train.records}
    assert trained == {*dataset.train, *dataset.val, *dataset.test}
    (trial,) = [t for t in finished.folder.trials() if t.trial_id.startswith("final-everything-")]
    assert "test_score" not in trial.read_reports()[-1]
    assert (trial.path / "delta.safetensors").exists()
    assert all(one.read_end() for one in finished.folder.trials())
    train(finished)
    assert left.has_finished(), "the earlier one, if it is asked for again"
