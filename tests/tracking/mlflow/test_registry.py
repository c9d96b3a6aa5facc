"""What validation chose, the winner in the model registry, and when the champion's alias moves."""

import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.models import Model
from PIL import Image

from study.data.images.image_reading import ImageReading
from study.errors import TrackingError
from study.method.delta import load_delta, save_delta
from study.selection.chance import AgainstChance, write_against_chance
from study.selection.optimism import Optimism
from study.serving.classifier import load_classifier
from study.storage.study_folder import Registration
from study.tracking.mlflow import registry
from study.tracking.mlflow.mirror import sync_to_mlflow
from study.tracking.mlflow.registry import model_name, register_winner
from study.tracking.mlflow.study_run import StudyRun
from tests.written_study import started

Finished = Any
MakeFinished = Callable[..., Finished]


@pytest.fixture
def store(new_store: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of its own, since aliases are shared by all studies of a dataset."""
    monkeypatch.chdir(tmp_path)
    return new_store(tmp_path)


@pytest.fixture
def finished(finish: MakeFinished, tmp_path: Path) -> MakeFinished:
    return lambda name, **changes: finish(tmp_path, name, **changes)


def register(study: Finished, uri: str) -> Registration:
    own_run = StudyRun(study.study, uri)
    registration = register_winner(own_run)
    assert registration is not None
    return registration


def version_of(uri: str, registration: Registration) -> Any:
    return MlflowClient(uri).get_model_version(registration.model, registration.version)


def model_of(uri: str, version: Any) -> Any:
    outputs = MlflowClient(uri).get_run(version.run_id).outputs
    return MlflowClient(uri).get_logged_model(outputs.model_outputs[0].model_id)


def test_versions_of_one_dataset_compete_for_one_alias(finished: MakeFinished, store: str) -> None:
    client = MlflowClient(store)
    first = register(finished("first", val_score=0.8), store)
    better = register(finished("better", val_score=0.9), store)
    worse = register(finished("worse", val_score=0.85), store)
    elsewhere = register(finished("elsewhere", val_score=0.99, split_hash="e" * 16), store)
    assert first.model == better.model == "clipfit-digits"
    assert (first.champion, better.champion, worse.champion) == (True, True, False)
    assert not elsewhere.champion
    assert "another split" in elsewhere.reason
    alias = client.get_model_version_by_alias("clipfit-digits", "champion")
    assert str(alias.version) == better.version


def test_a_version_says_where_it_comes_from_and_what_it_was_chosen_by(
    finished: MakeFinished, store: str
) -> None:
    study = finished("told")
    registration = register(study, store)
    version = version_of(store, registration)
    expected = {
        "study": "told",
        "dataset": "digits",
        "selection": "holdout",
        "split_hash": "f" * 16,
        "val_score": "0.8",
        "trial_id": "confirm-best-seed1",
    }
    assert version.tags.items() >= expected.items()
    assert len(version.tags["training_data_hash"]) == 64
    assert "80.0% on validation; on test 75.0%, the mean over 2 seeds" in version.description
    model = model_of(store, version)
    metrics = {metric.key: metric.value for metric in model.metrics}
    expected_metrics = {"val_score": 0.8, "test_score": 0.75, "test_balanced": 0.75556}
    assert metrics == expected_metrics, "accuracy is the score"
    assert f'mlflow.pyfunc.load_model("{registration.uri}")' in version.description
    saved = Model.load(model.artifact_location)
    assert saved.signature.outputs.input_names() == ["class_name", "probability", "probabilities"]
    assert saved.load_input_example(model.artifact_location)
    assert study.folder.read_registration() == registration


def test_the_artifact_is_small_and_holds_no_pickle(finished: MakeFinished, store: str) -> None:
    before = list(sys.path)
    version = version_of(store, register(finished("small"), store))
    assert sys.path == before
    place = Path(model_of(store, version).artifact_location)
    files = [path for path in place.rglob("*") if path.is_file()]
    suffixes = {path.suffix for path in files}
    assert suffixes <= {"", ".py", ".jinja", ".json", ".yaml", ".txt", ".safetensors"}
    weights = {str(p.relative_to(place)): p for p in files if p.suffix == ".safetensors"}
    backbone = weights.pop("code/study/embedded/glyph-clip/model.safetensors")
    assert set(weights) == {"artifacts/delta.safetensors"}
    own = [path for path in files if path.is_relative_to(place / "code")]
    assert sum(path.stat().st_size for path in {*files} - {*own}) < 100_000
    assert sum(path.stat().st_size for path in {*own} - {backbone}) < 2_000_000


def test_a_server_takes_the_model_and_gives_it_to_whoever_asks(
    finished: MakeFinished, mlflow_server: str
) -> None:
    registration = register(finished("remote"), mlflow_server)
    source = MlflowClient(mlflow_server).get_model_version_download_uri(
        registration.model, registration.version
    )
    assert source.startswith("mlflow-artifacts:")


def test_registering_again_makes_no_second_version(finished: MakeFinished, store: str) -> None:
    study = finished("again")
    assert register(study, store) == register(study, store)
    found = MlflowClient(store).search_model_versions("name = 'clipfit-digits'")
    assert len(list(found)) == 1


def test_a_version_has_the_head_of_its_winner_and_says_so(
    finished: MakeFinished, store: str
) -> None:
    study = finished("linear", linear=True)
    version = version_of(store, register(study, store))
    assert "with a linear head at strength 0.75 (trial" in version.description
    assert version.tags.items() >= {"head": "linear", "strength": "0.75"}.items()
    model = model_of(store, version)
    told = {"head": "linear", "head_lr": "0.01", "head_steps": "30", "strength": "0.75"}
    assert model.params.items() >= told.items()
    images = [Image.linear_gradient("L"), Image.radial_gradient("L")]

    def rows(**settings: Any) -> list[dict[str, float]]:
        served = mlflow.pyfunc.load_model(model.artifact_location, model_config=settings or None)
        found: list[dict[str, float]] = served.predict(images)["probabilities"].tolist()
        return found

    delta = study.folder.path / "trials/confirm-best-seed1/delta.safetensors"
    classifier = load_classifier(delta)
    expected = classifier.probabilities(images).tolist()
    assert [list(row.values()) for row in rows()] == expected
    new = rows(class_names=["letter x", "letter y"])
    assert [list(row) for row in new] == [["letter x", "letter y"]] * 2


def test_of_a_winner_without_a_delta_the_best_that_has_one_is_registered_and_says_so(
    finished: MakeFinished, store: str
) -> None:
    study = finished("peer")
    zero_shot, best = study.folder.read_json("candidates.json")
    full = {"subset": "none", "peer": {"method": "full", "lr": 1e-5}}
    winner = best | {"settings": full, "val_score": 0.9, "source_trial": "search-0000"}
    study.folder.write_json(
        "candidates.json",
        [zero_shot, winner, best | {"label": "best-with-delta", "val_score": 0.8}],
    )
    for seed in (1, 2):
        study.confirm(seed, "best-with-delta", 0.7)
    version = version_of(store, register(study, store))
    assert version.description.startswith(
        "Best configuration with a file of tuned parameters, which the winner has not, of the "
        "study `peer`: `text."
    )
    assert "80.0% on validation; on test 70.0%" in version.description
    expected = {"trial_id": "confirm-best-with-delta-seed1", "val_score": "0.8"}
    assert version.tags.items() >= expected.items()


@pytest.mark.parametrize("confirmed", [True, False], ids=["at chance", "without a score"])
def test_without_a_winner_the_best_with_a_delta_is_not_registered(
    finished: MakeFinished, store: str, confirmed: bool
) -> None:
    study = finished("poor-peer", test_score=0.1)
    zero_shot, best = study.folder.read_json("candidates.json")
    study.folder.write_json(
        "candidates.json", [zero_shot, best, best | {"label": "best-with-delta"}]
    )
    for seed in (1, 2):
        study.confirm(seed, "best-with-delta", 0.7)
        if not confirmed:
            (study.folder.trial(f"confirm-best-seed{seed}").path / "end.json").unlink()
    assert register_winner(StudyRun(study.study, store)) is None
    assert study.folder.read_registration() is None


def test_a_version_reads_deep_images_as_its_study_did(finished: MakeFinished, store: str) -> None:
    study = finished("deep")
    delta = study.folder.path / "trials/confirm-best-seed1/delta.safetensors"
    tensors, info = load_delta(delta)
    save_delta(delta, tensors, replace(info, reading=ImageReading((0, 4080))))
    version = version_of(store, register(study, store))
    location = Path(model_of(store, version).artifact_location)
    flat = np.asarray(Image.linear_gradient("L"))
    deep = Image.fromarray(flat.astype(np.uint16) * 16)

    model = mlflow.pyfunc.load_model(str(location))
    shown, expected = model.predict([deep, Image.fromarray(flat)])["probabilities"]
    assert shown == pytest.approx(expected)


@pytest.mark.parametrize(
    ("images", "test_score", "told"),
    [
        ([300] * 3, 0.204, "is 20.3% on test and chance is 33.3%"),
        ([300] * 3, 1 / 3, "is 33.3% on test and chance is 33.3%"),
        ([600, 200, 200], 0.6, "is 33.3% on test and chance is 33.3%"),
    ],
)
def test_what_does_not_beat_chance_is_no_version_and_no_champion(
    finished: MakeFinished,
    store: str,
    caplog: pytest.LogCaptureFixture,
    images: list[int],
    test_score: float,
    told: str,
) -> None:
    client = MlflowClient(store)
    champion = register(finished("before", val_score=0.5), store)
    # Of unequal classes, the largest is always named.
    right = [images[0], 0, 0] if images[0] > images[1] else None
    study = finished("guessing", val_score=0.9, images=images, test_score=test_score, right=right)
    tracker = started(study, store)
    tracker.register()
    assert tracker.close(finished=True) == {}
    assert caplog.text.count(told) == 1
    assert sync_to_mlflow(study.study, store).trials == 5
    assert caplog.text.count(told) == 2, "once a command"
    assert study.folder.read_registration() is None
    (version,) = client.search_model_versions("name = 'clipfit-digits'")
    assert str(version.version) == champion.version
    assert (
        client.get_model_version_by_alias("clipfit-digits", "champion").version == version.version
    )


def test_a_choice_below_the_share_of_the_largest_class_is_registered(
    finished: MakeFinished, store: str
) -> None:
    assert register(finished("below", images=[900, 50, 50], test_score=0.61), store).champion


def test_a_version_says_how_sure_its_scores_are(finished: MakeFinished, store: str) -> None:
    study = finished("sure")
    errors = {"search-0001": 0.0123456}
    study.folder.write_json("optimism.json", Optimism(41, 0.8, 0.776, errors))
    write_against_chance(study.folder, {"best": AgainstChance(0.75, 0.1, images=9, low=0.05)})
    version = version_of(store, register(study, store))
    assert "80.0% on validation, the best of 41; expect about 78 %; on test" in version.description
    assert "It is not shown to beat chance with 9 test images." in version.description
    assert (version.tags["val_error"], version.tags["beats_chance"]) == ("0.012346", "not shown")


def test_a_version_claims_nothing_of_what_is_not_known(finished: MakeFinished, store: str) -> None:
    version = version_of(store, register(finished("unknown"), store))
    assert "80.0% on validation; on test" in version.description
    assert "shown" not in version.description
    assert not {"val_error", "beats_chance"} & version.tags.keys()


@pytest.mark.parametrize(
    "call",
    [
        *("log_model_artifacts", "finalize_logged_model", "log_batch", "log_outputs"),
        "create_model_version",
    ],
)
def test_a_registration_whose_answer_is_lost_is_made_up_for_with_the_same_model(
    finished: MakeFinished, store: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    study, client = finished(f"lost-at-{call}"), MlflowClient(store)
    own_run = StudyRun(study.study, store)
    real = getattr(MlflowClient, call)

    def cut(*given: Any, **named: Any) -> None:
        if call != "create_model_version":  # which the next attempt finds if it has arrived
            real(*given, **named)
        raise ConnectionError("the connection was cut")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, call, cut)
        with pytest.raises(TrackingError, match="cut"):
            register_winner(own_run)
    assert register_winner(own_run) is not None
    study_id = study.folder.read_identity()["study_id"]
    (model,) = client.search_logged_models(
        [own_run.experiment_id], filter_string=f"tags.study_id = '{study_id}'"
    )
    run = client.get_run(own_run.run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert len(client.get_metric_history(own_run.run_id, "val_score")) == 1
    (version,) = client.search_model_versions(f"tags.study_id = '{study_id}'")
    assert version.source == model.artifact_location
    assert model.status == LoggedModelStatus.READY


def test_a_registry_that_hangs_costs_a_bounded_wait(
    finished: MakeFinished, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = finished("hanging")
    own_run = StudyRun(study.study, store)
    answers = threading.Event()
    monkeypatch.setattr(registry._Registrar, "register", lambda self: answers.wait())
    with pytest.raises(TrackingError, match="no answer"):
        register_winner(own_run, wait=0.2)
    assert study.folder.read_registration() is None
    answers.set()


def test_a_registry_that_fails_costs_the_study_nothing_and_is_made_up_for_later(
    finished: MakeFinished,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = finished("made-up")
    with monkeypatch.context() as broken:
        broken.setattr(registry._Registrar, "register", lambda self: 1 / 0)
        tracker = started(study, store)
        tracker.register()
        assert tracker.close(finished=True) == {}
    assert study.folder.read_registration() is None
    assert "clipfit-study sync made-up" in caplog.text
    told: list[bool] = []
    sync_to_mlflow(study.study, store, lambda: told.append(True))
    assert study.folder.read_registration() is not None
    assert told == [True], "tables and report say where the winner is"


def test_a_winner_that_waits_for_what_mlflow_lacks_is_told(
    finished: MakeFinished,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = finished("waiting")
    tracker = started(study, store)
    monkeypatch.setattr(tracker._mirror, "drain", lambda: {"search-0001": "it is away"})
    tracker.register()
    assert "the winner is not in the model registry: MLflow lacks 1 run" in caplog.text
    assert "search-0001: it is away" in caplog.text
    assert "clipfit-study sync waiting" in caplog.text
    caplog.clear()
    guessing = finished("at-chance", images=[900, 100], right=[900, 0], test_score=0.9)
    other = started(guessing, store)
    monkeypatch.setattr(other._mirror, "drain", lambda: {"search-0001": "it is away"})
    other.register()
    assert not caplog.records, "what does not beat chance does not wait for a place"


def test_what_has_not_ended_is_neither_registered_nor_called_finished(
    finished: MakeFinished, store: str
) -> None:
    study = finished("halfway")
    (study.folder.path / "trials/confirm-best-seed2/end.json").unlink()
    sync_to_mlflow(study.study, store)
    assert study.folder.read_registration() is None
    client = MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "finished"]
    (parent,) = client.search_runs([experiment.experiment_id], "tags.study_parent = 'yes'")
    assert parent.info.status == "KILLED"


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("digits", "clipfit-digits"), ("hf:owner/set", "clipfit-hf-owner-set")],
)
def test_names_of_models_have_no_slash_or_colon(dataset: str, name: str) -> None:
    assert model_name(dataset) == name
