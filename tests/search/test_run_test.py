"""The test of the candidates, and the training of the final model."""

import shutil

import pytest

from study.config.labels import WITH_DELTA
from study.config.trial_settings import TrialSettings
from study.data.records import Record
from study.method.delta import HEAD_ROWS, load_delta
from study.results.best_configuration import final_candidate
from study.search import steps
from study.search.candidates import make_candidate, rank_finished_trials
from study.search.driver import run_trials
from study.search.runner import run_in_process
from study.storage.trial_folder import End, TrialFolder
from study.trial.predictions import read_predictions
from study.trial.prepare import Preparer
from study.trial.study import BEST, Candidate, Study
from tests.not_none import not_none
from tests.real_study import RealStudy, Runner, configs_of, results, untimed
from tests.settings import settings

from .conftest import HALVED, METHODS, MakeStudy

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]


def test_all_candidates_are_tested_and_nothing_else(tested: RealStudy):
    candidates = not_none(tested.study.candidates())
    assert sorted(t.trial_id for t in configs_of(tested.folder, "test")) == sorted(
        {f"test-{one.training}-seed{seed}" for one in candidates for seed in (1, 2)}
    )
    ranked = rank_finished_trials(tested.folder)
    origins = {candidate.label: candidate.source_trial for candidate in candidates}
    for label in METHODS:
        best = next(trial.config for trial in ranked if trial.config.group == label)
        assert origins[label] == best.trial_id
    finished = {trial.config.trial_id for trial in ranked}
    assert {*origins.values()} <= finished
    assert len({(t.seed, t.split_hash) for t in configs_of(tested.folder, "test")}) == 2


TEXT = settings("vision.ln", None, 0.01)
LINEAR = TEXT.model_copy(update={"head": "linear"})
FULL = TrialSettings.model_validate({"subset": "none", "method": {"method": "full", "lr": 1e-5}})


def candidate(label: str, own: TrialSettings, training: str) -> Candidate:
    return Candidate(label=label, settings=own, training=training, search_trials=8)


def test_candidates_share_a_training_with_the_final_models_head():
    other, plain = candidate("other", TEXT, "b"), candidate("plain", TEXT, "a")
    linear, best = candidate("linear", LINEAR, "a"), candidate(BEST, LINEAR, "a")
    assert [*steps.trainings_of([other, plain, linear]).items()] == [("b", TEXT), ("a", TEXT)]
    assert [*steps.trainings_of([other, plain, best]).items()] == [("b", TEXT), ("a", LINEAR)]
    # The final model is of the best that can be written, where the best cannot.
    full, written = candidate(BEST, FULL, "f"), candidate(WITH_DELTA, LINEAR, "a")
    assert steps.trainings_of([full, plain, written]) == {"f": FULL, "a": LINEAR}


def test_a_training_is_tested_once_with_each_head_and_as_by_ray(make_study: MakeStudy):
    def trial_of(study: RealStudy, runner: Runner) -> TrialFolder:
        rates = {"rates": {"bias": 0.05, "ln": 0.02}, "distill_weight": 1.0}
        same = {"subset": "text.mlp.fc2.bias + vision.ln", "head": "linear"}  # written otherwise
        candidates = [
            make_candidate(study.study, label, TrialSettings.model_validate(own | rates))
            for label, own in (("plain", {"subset": "clipfit"}), (BEST, same))
        ]
        data = {1: study.preparer.test(1)}
        batch = steps.plan_test(study.study, steps.trainings_of(candidates), data)
        runner(study.study, steps.run_test(study.study, [batch], [study.heard]))
        (trial,) = study.folder.trials()
        assert trial.trial_id == f"test-{candidates[0].training}-seed1"
        return trial

    given = {
        "training": {"epochs": 2, "batch_size": 8},
        "search": {"heads": ["text", "linear"]},
    }
    study, twin = (make_study(name, **given) for name in ("by-ray", "in-process"))
    trial = trial_of(study, run_trials)
    trial_of(twin, run_in_process)
    assert results(study.folder) == results(twin.folder)
    assert study.heard.events == twin.heard.events
    *_, last = trial.read_reports()
    assert last["test_score"] == last["test_score_linear"], "the head of the best"
    assert HEAD_ROWS in load_delta(trial.path / "delta.safetensors")[0]
    for head in ("text", "linear"):
        rows = read_predictions(study.folder, trial.trial_id, head)
        right = sum(row.label == row.predicted for row in rows) / len(rows)
        assert right == pytest.approx(last["scores"][head]["score"])


# The final model


@pytest.fixture(scope="module")
def finished(tested: RealStudy, make_study: MakeStudy) -> RealStudy:
    """A copy of the tested study with a final model, which is trained in this process."""
    shutil.copytree(tested.folder.path, tested.folder.path.with_name("finished"))
    study = make_study("finished", search=HALVED)
    train_final(study)
    return study


def train_final(tiny: RealStudy, images: str = "labelled") -> set[Record]:
    """Train the final model, if it has not been; return its training images."""
    study = Study(tiny.config.with_section("final", images=images), tiny.folder)
    preparer = Preparer(study, tiny.architecture.image_size)
    batch = steps.plan_final(study, preparer, [tiny.heard])
    run_in_process(study, steps.run_test(study, [batch], [tiny.heard]))
    (data,) = batch.data.values()
    return {*data.tasks[0].train.records}


def final_trial(tiny: RealStudy, images: str = "labelled") -> TrialFolder:
    (trial,) = tiny.folder.path.glob(f"trials/final-{images}-*")
    return TrialFolder(trial)


def test_the_final_model_learns_from_validation_images_too(finished: RealStudy):
    shots = finished.preparer.shots(1)
    assert train_final(finished) == {*shots.train, *shots.val}
    trial = final_trial(finished)
    chosen = not_none(final_candidate(finished.study.candidates()))
    assert trial.read_config()["settings"] == chosen.settings.model_dump(mode="json")
    *epochs, last = trial.read_reports()
    assert not any("test_score" in report for report in epochs)
    tested = {p.path for p in read_predictions(finished.folder, trial.trial_id)}
    assert last["test_score"] > 0
    assert tested == {record.path for record in finished.study.dataset.test}
    assert (trial.path / "delta.safetensors").exists()


@pytest.mark.parametrize("how", ["lost", "failed"])
def test_a_final_training_that_is_lost_or_failed_is_trained_again(finished: RealStudy, how: str):
    trial = final_trial(finished)
    before = untimed(trial), trial.read("delta.safetensors")
    if how == "lost":
        shutil.rmtree(trial.path)
    else:
        trial.write_end(End("failed", 1, 1.0))
    train_final(finished)
    assert trial.has_finished()
    assert before == (untimed(trial), trial.read("delta.safetensors"))


def test_another_final_model_leaves_no_training_open(finished: RealStudy):
    left = final_trial(finished)
    left.reopen()
    dataset = finished.study.dataset
    trained = train_final(finished, "everything")
    assert trained == {*dataset.train, *dataset.val, *dataset.test}
    assert not_none(left.read_end()).status == "stopped"
    trial = final_trial(finished, "everything")
    assert "test_score" not in trial.read_reports()[-1]
    assert (trial.path / "delta.safetensors").exists()
    train_final(finished)
    assert left.has_finished(), "the earlier one, if it is asked for again"
