"""The best configuration of a study in the model registry."""

import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from study.errors import TrackingError
from study.results.study_result import read_study_result, write_chance
from study.tracking.mlflow import registry
from study.tracking.mlflow.registry import model_name, register_best
from study.tracking.mlflow.study_run import StudyRun
from tests.tracking.mlflow.conftest import Registered
from tests.tracking.mlflow.records import started, sync


@pytest.fixture
def finished(finish: Any, tmp_path: Path) -> Any:
    return lambda name, **changes: finish(tmp_path, name, **changes)


def test_a_version_says_where_it_comes_from_and_has_no_pickle(finished: Any, store: str):
    before = list(sys.path)
    study = finished("mine", linear=True)
    registered = Registered(study, store)
    assert sys.path == before
    tags, description = registered.version.tags, registered.version.description
    expected = {
        **{"study": "mine", "dataset": "digits", "selection": "holdout", "split_hash": "f" * 16},
        **{"val_score": "0.8", "trial_id": "test-best-seed1", "head": "linear"},
        **{"alpha": "0.75"},
    }
    assert tags.items() >= expected.items()
    assert len(tags["training_data_hash"]) == 64
    assert "beats_chance" not in tags, "nothing is known of it"
    assert "test score 75.0% (the mean over 2 seeds)" in description
    assert f'mlflow.pyfunc.load_model("{registered.registration.uri}")' in description
    assert study.folder.read_registration() == registered.registration
    client = MlflowClient(store)
    metrics = client.get_run(registered.version.run_id).data.metrics
    assert metrics == {"val_score": 0.8, "test_score": 0.75}, "accuracy is the score"
    assert register_best(registered.run) == registered.registration
    assert len(list(client.search_model_versions("name = 'clipfit-digits'"))) == 1

    place = Path(registered.version.source)
    assert Model.load(place).load_input_example(place)
    sizes = {str(p.relative_to(place)): p.stat().st_size for p in place.rglob("*") if p.is_file()}
    texts = {"", ".py", ".typed", ".jinja", ".css", ".js", ".json", ".yaml", ".toml", ".txt"}
    assert {Path(name).suffix for name in sizes} <= {*texts, ".mplstyle", ".safetensors"}
    weights = {name for name in sizes if name.endswith(".safetensors")}
    assert weights == {
        "artifacts/delta.safetensors",
        "code/study/embedded/glyph-clip/model.safetensors",
        "code/study/data/readers/glyphs.safetensors",
    }
    assert sum(size for name, size in sizes.items() if not name.startswith("code/")) < 100_000


@pytest.mark.parametrize("dataset, name", [("hf:owner/set", "hf-owner-set"), ("a:b/", "a-b")])
def test_a_models_name_has_no_slash_and_no_colon(dataset: str, name: str):
    assert model_name(dataset) == f"clipfit-{name}"


@pytest.mark.parametrize(
    "changes, beats_chance",
    [
        # The largest class is always named.
        ({"images": [600, 200, 200], "right": [600, 0, 0], "test_score": 0.6}, None),
        ({"images": [2] * 10, "right": [0] * 8 + [1, 2], "test_score": 0.15}, "not shown"),
    ],
    ids=["at chance", "not certainly above chance"],
)
def test_what_is_not_shown_to_beat_chance_is_no_champion(
    finished: Any,
    store: str,
    changes: dict[str, Any],
    beats_chance: str | None,
    caplog: pytest.LogCaptureFixture,
):
    champion = Registered(finished("before", val_score=0.5), store).registration
    study = finished("guessing", val_score=0.9, **changes)
    write_chance(read_study_result(study.folder.path))
    sync(study, store)
    client = MlflowClient(store)
    alias = client.get_model_version_by_alias("clipfit-digits", "champion")
    assert str(alias.version) == champion.version
    registration = study.folder.read_registration()
    if beats_chance is None:
        assert "is 33.3% on test and guessing would have 33.3%" in caplog.text
        assert registration is None
        assert len(client.search_model_versions("name = 'clipfit-digits'")) == 1
    else:
        assert (registration.champion, registration.address) == (False, registration.uri)
        version = client.get_model_version("clipfit-digits", registration.version)
        assert version.tags["beats_chance"] == beats_chance
        assert (
            "It is not significantly better than chance: on 20 test images" in version.description
        )


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
