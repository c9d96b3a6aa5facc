"""The best configuration of a study in the model registry."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from study.errors import TrackingError
from study.results.study_result import write_chance
from study.tracking.mlflow import registry
from study.tracking.mlflow.registry import model_name, register_best
from study.tracking.mlflow.study_run import StudyRun
from tests.study_writer import StudyWriter
from tests.tracking.mlflow.conftest import Registered
from tests.tracking.mlflow.records import started, sync


@pytest.fixture
def finished(finish: Any, tmp_path: Path) -> Any:
    return lambda name, **changes: finish(tmp_path, name, **changes)


@pytest.fixture(scope="module")
def registered(register_in_own_store: Callable[..., Registered]) -> Registered:
    """A study that is registered, for tests that change nothing."""
    before = list(sys.path)
    registered = register_in_own_store("message", linear=True)
    assert sys.path == before
    return registered


def test_a_version_says_where_it_comes_from_and_what_it_was_chosen_by(registered: Registered):
    tags, description = registered.version.tags, registered.version.description
    expected = {
        **{"study": "message", "dataset": "digits", "selection": "holdout", "split_hash": "f" * 16},
        **{"val_score": "0.8", "trial_id": "test-best-seed1", "head": "linear"},
        **{"alpha": "0.75"},
    }
    assert tags.items() >= expected.items()
    assert model_name("hf:owner/set") == "clipfit-hf-owner-set"
    assert len(tags["training_data_hash"]) == 64
    assert "beats_chance" not in tags, "nothing is known of it"
    assert "80.0% on validation; 75.0% on test, the mean over 2 seeds" in description
    assert f'mlflow.pyfunc.load_model("{registered.registration.uri}")' in description
    assert registered.study.folder.read_registration() == registered.registration
    client = MlflowClient(registered.uri)
    metrics = client.get_run(registered.version.run_id).data.metrics
    assert metrics == {"val_score": 0.8, "test_score": 0.75}, "accuracy is the score"
    assert register_best(registered.run) == registered.registration
    assert len(list(client.search_model_versions("name = 'clipfit-digits'"))) == 1


def test_the_artifact_is_small_and_has_no_pickle(registered: Registered):
    place = Path(registered.version.source)
    assert Model.load(place).load_input_example(place)
    sizes = {str(p.relative_to(place)): p.stat().st_size for p in place.rglob("*") if p.is_file()}
    texts = {"", ".py", ".typed", ".jinja", ".css", ".js", ".json", ".yaml", ".toml", ".txt"}
    assert {Path(name).suffix for name in sizes} <= {*texts, ".mplstyle", ".safetensors"}
    backbone = "code/study/embedded/glyph-clip/model.safetensors"
    weights = {name for name in sizes if name.endswith(".safetensors")}
    letters = "code/study/data/readers/letters.safetensors"
    assert weights == {backbone, letters, "artifacts/delta.safetensors"}
    code = sum(size for name, size in sizes.items() if name.startswith("code/"))
    assert sum(sizes.values()) - code < 100_000
    assert code - sizes[backbone] < 2_200_000


def test_a_final_training_is_the_version(finished: Any, store: str):
    study = finished("trained")
    tested = study.folder.trial("test-best-seed1").path
    shutil.copytree(tested, tested.with_name("final-labelled-0001"))
    StudyWriter(study.folder.path).change("final-labelled-0001", stage="final")
    version = Registered(study, store).version
    assert version.tags["final_images"] == "labelled"
    assert "75.0% on test, one training" in version.description


def test_the_best_configuration_with_a_delta_is_registered_in_place_of_one_without(
    finished: Any, store: str
):
    study = finished("full")
    zero_shot, best = study.folder.read_json("candidates.json")
    full = {"subset": "none", "method": {"method": "full", "lr": 1e-5}}
    tuned = best | {"settings": full, "val_score": 0.9, "source_trial": "search-0000"}
    with_delta = best | {"label": "best-with-delta", "training": "best-with-delta"}
    study.folder.write_json("candidates.json", [zero_shot, tuned, with_delta])
    for seed in (1, 2):
        study.test(seed, "best-with-delta", 0.7)
    version = Registered(study, store).version
    expected = {"trial_id": "test-best-with-delta-seed1", "val_score": "0.8"}
    assert version.tags.items() >= expected.items()


def test_what_does_not_beat_chance_is_no_version_and_no_champion(
    finished: Any, store: str, caplog: pytest.LogCaptureFixture
):
    champion = Registered(finished("before", val_score=0.5), store).registration
    # The largest class is always named.
    unequal = {"images": [600, 200, 200], "right": [600, 0, 0], "test_score": 0.6}
    study = finished("guessing", val_score=0.9, **unequal)
    write_chance(study.folder)
    sync(study, store)
    assert "is 33.3% on test and guessing would have 33.3%" in caplog.text
    assert study.folder.read_registration() is None
    client = MlflowClient(store)
    (version,) = client.search_model_versions("name = 'clipfit-digits'")
    assert str(version.version) == champion.version
    alias = client.get_model_version_by_alias("clipfit-digits", "champion")
    assert alias.version == version.version


def test_a_version_whose_interval_has_chance_in_it_is_no_champion_and_says_so(
    finished: Any, store: str
):
    few = finished("few", images=[2] * 10, right=[0] * 8 + [1, 2], test_score=0.15)
    write_chance(few.folder)
    near = Registered(few, store)
    assert not near.registration.champion
    assert near.registration.address == near.registration.uri
    assert "chance" in near.registration.reason
    assert near.version.tags["beats_chance"] == "not shown"
    assert "It is not shown to beat chance: on 20 test images" in near.version.description


@pytest.mark.parametrize("call", ["log_batch", "create_model_version"])
def test_a_registration_whose_answer_is_lost_is_completed_by_the_next(
    finished: Any, store: str, monkeypatch: pytest.MonkeyPatch, call: str
):
    study, client = finished("lost"), MlflowClient(store)
    own_run = StudyRun(study.study, store)
    real = getattr(MlflowClient, call)

    def cut(*arguments: Any, **options: Any):
        real(*arguments, **options)
        raise ConnectionError("the connection was cut")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, call, cut)
        with pytest.raises(TrackingError, match="cut"):
            register_best(own_run)
    registered = Registered(study, store)
    (version,) = client.search_model_versions("name = 'clipfit-digits'")
    assert version.version == registered.version.version
    assert Model.load(version.source)
    history = client.get_metric_history(own_run.run_id, "val_score")
    assert [point.value for point in history] == [0.8]


def test_a_registry_that_fails_costs_the_study_nothing_and_is_made_up_for_later(
    finished: Any,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    study = finished("made-up")
    with monkeypatch.context() as broken:
        broken.setattr(registry, "_register", lambda *_: 1 / 0)
        tracker = started(study, store)
        tracker.register()
        assert tracker.close(finished=True).missing == ""
    assert study.folder.read_registration() is None
    assert f"clipfit-study sync {study.folder.path}" in caplog.text
    written = []
    sync(study, store, lambda: written.append(True))
    assert study.folder.read_registration() is not None
    assert written == [True], "tables and report say where the best configuration is"


def test_what_has_not_ended_is_neither_registered_nor_called_finished(finished: Any, store: str):
    study = finished("halfway")
    (study.folder.path / "trials/test-best-seed2/end.json").unlink()
    sync(study, store)
    assert study.folder.read_registration() is None
    client = MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "halfway"]
    (parent,) = client.search_runs([experiment.experiment_id], "tags.study_parent = 'yes'")
    assert parent.info.status == "KILLED"
