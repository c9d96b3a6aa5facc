"""What validation chose, the winner in the model registry, and when the champion's alias moves."""

import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.models import Model

from study.errors import TrackingError
from study.results.against_chance import fix_chance
from study.results.chance import AgainstChance
from study.tracking.mlflow import champion, registry
from study.tracking.mlflow.champion import judge
from study.tracking.mlflow.registry import model_name, register_winner
from study.tracking.mlflow.study_run import StudyRun
from tests.case_tables import from_table
from tests.changed_studies import change_json
from tests.not_none import not_none
from tests.tracking.mlflow.conftest import Registered
from tests.written_study import started, sync


@pytest.fixture
def finished(finish: Any, tmp_path: Path) -> Any:
    return lambda name, **changes: finish(tmp_path, name, **changes)


@pytest.fixture(scope="module")
def told(register_in_own_store: Callable[..., Registered]) -> Registered:
    """A study that is registered, for all who only look."""
    before = list(sys.path)
    registered = register_in_own_store("told")
    assert sys.path == before
    return registered


@pytest.mark.long
def test_studies_that_register_at_once_leave_the_alias_with_the_best_of_them(
    finished: Any, store: str, monkeypatch: pytest.MonkeyPatch
):
    before_the_move = threading.Barrier(2)

    def judge_together(*tags: Any) -> tuple[bool, str]:
        with suppress(threading.BrokenBarrierError):
            before_the_move.wait(1)  # at which no other may be
        time.sleep(1 * (tags[0]["val_score"] == "0.8"))  # the worse one would move it last
        return judge(*tags)

    monkeypatch.setattr(champion, "judge", judge_together)
    runs = [
        StudyRun(finished(name, val_score=score).study, store)
        for name, score in (("better", 0.9), ("worse", 0.8))
    ]
    with ThreadPoolExecutor() as pool:
        better, worse = map(not_none, pool.map(register_winner, runs))
    assert better.champion
    assert better.version != worse.version
    alias = MlflowClient(store).get_model_version_by_alias("clipfit-digits", "champion")
    assert str(alias.version) == better.version


def test_a_version_says_where_it_comes_from_and_what_it_was_chosen_by(told: Registered):
    expected = {
        "study": "told",
        "dataset": "digits",
        "selection": "holdout",
        "split_hash": "f" * 16,
        "val_score": "0.8",
        "trial_id": "test-best-seed1",
    }
    tags, description = told.version.tags, told.version.description
    assert tags.items() >= expected.items()
    assert len(tags["training_data_hash"]) == 64
    assert "80.0% on validation; on test 75.0%, the mean over 2 seeds" in description
    assert f'mlflow.pyfunc.load_model("{told.registration.uri}")' in description
    assert told.study.folder.read_registration() == told.registration
    metrics = {metric.key: metric.value for metric in told.model.metrics}
    expected_metrics = {"val_score": 0.8, "test_score": 0.75, "test_balanced": 0.75556}
    assert metrics == expected_metrics, "accuracy is the score"


def test_a_version_claims_nothing_of_what_is_not_known(told: Registered):
    assert "shown" not in told.version.description
    assert "beats_chance" not in told.version.tags


def test_the_artifact_tells_its_form_is_small_and_holds_no_pickle(told: Registered):
    place = Path(told.model.artifact_location)
    saved = Model.load(place)
    assert saved.signature.outputs.input_names() == ["class_name", "probability", "probabilities"]
    assert saved.load_input_example(place)
    sizes = {str(p.relative_to(place)): p.stat().st_size for p in place.rglob("*") if p.is_file()}
    suffixes = {Path(name).suffix for name in sizes}
    texts = {"", ".py", ".typed", ".jinja", ".css", ".js", ".json", ".yaml", ".toml", ".txt"}
    texts.add(".mplstyle")
    assert suffixes <= {*texts, ".safetensors"}
    backbone = "code/study/embedded/glyph-clip/model.safetensors"
    weights = {name for name in sizes if name.endswith(".safetensors")}
    letters = "code/study/data/readers/letters.safetensors"
    assert weights == {backbone, letters, "artifacts/delta.safetensors"}
    code = sum(size for name, size in sizes.items() if name.startswith("code/"))
    assert sum(sizes.values()) - code < 100_000
    assert code - sizes[backbone] < 2_200_000


def test_registering_again_makes_no_second_version(told: Registered):
    assert register_winner(told.run) == told.registration
    found = MlflowClient(told.uri).search_model_versions("name = 'clipfit-digits'")
    assert len(list(found)) == 1


def test_a_version_has_the_head_of_its_winner_and_says_so(finished: Any, store: str):
    linear = Registered(finished("linear", linear=True), store)
    assert "with a linear head at strength 0.75 (trial" in linear.version.description
    assert linear.version.tags.items() >= {"head": "linear", "strength": "0.75"}.items()
    assert linear.model.params.items() >= {"head": "linear", "strength": "0.75"}.items()


def test_a_final_training_is_the_version(finished: Any, store: str):
    study = finished("trained")
    tested = study.folder.trial("test-best-seed1").path
    final = shutil.copytree(tested, tested.with_name("final-labelled-0001"))
    change_json(final / "config.json", stage="final")
    version = Registered(study, store).version
    assert version.tags["final_images"] == "labelled"
    assert "and on test 75.0%, which is one training" in version.description


def choose(study: Any, *candidates: dict[str, Any]):
    """Change what a study chose: zero-shot, and others that differ so from its best."""
    zero_shot, best = study.folder.read_json("candidates.json")
    chosen = [best | other | {"training": other.get("label", "best")} for other in candidates]
    study.folder.write_json("candidates.json", [zero_shot, *chosen])
    for seed in (1, 2):
        study.test(seed, "best-with-delta", 0.7)


def test_of_a_winner_without_a_delta_the_best_that_has_one_is_registered_and_says_so(
    finished: Any, store: str
):
    study = finished("full")
    full = {"subset": "none", "method": {"method": "full", "lr": 1e-5}}
    winner = {"settings": full, "val_score": 0.9, "source_trial": "search-0000"}
    choose(study, winner, {"label": "best-with-delta", "val_score": 0.8})
    version = Registered(study, store).version
    assert version.description.startswith(
        "Best configuration that can be written as a delta, which the best of all cannot, of the "
        "study `full`: `text."
    )
    assert "80.0% on validation; on test 70.0%" in version.description
    expected = {"trial_id": "test-best-with-delta-seed1", "val_score": "0.8"}
    assert version.tags.items() >= expected.items()


def test_what_does_not_beat_chance_is_no_version_and_no_champion(
    finished: Any, store: str, caplog: pytest.LogCaptureFixture
):
    champion = Registered(finished("before", val_score=0.5), store).registration
    # The largest class is always named.
    unequal = {"images": [600, 200, 200], "right": [600, 0, 0], "test_score": 0.6}
    study = finished("guessing", val_score=0.9, **unequal)
    tracker = started(study, store)
    tracker.register()
    assert tracker.close(finished=True).lacks == ""
    told = "is 33.3% on test and chance is 33.3%"
    assert caplog.text.count(told) == 1
    assert sync(study, store) == 5
    assert caplog.text.count(told) == 2, "once a command"
    assert study.folder.read_registration() is None
    client = MlflowClient(store)
    (version,) = client.search_model_versions("name = 'clipfit-digits'")
    assert str(version.version) == champion.version
    alias = client.get_model_version_by_alias("clipfit-digits", "champion")
    assert alias.version == version.version


def test_a_version_whose_interval_has_chance_in_it_is_no_champion(finished: Any, store: str):
    few = finished("few", images=[2] * 10, right=[0] * 8 + [1, 2], test_score=0.15)
    fix_chance(few.folder)
    near = Registered(few, store)
    assert not near.registration.champion
    assert near.registration.address == near.registration.uri
    assert "chance" in near.registration.reason


def test_a_version_says_how_sure_its_scores_are(finished: Any, store: str):
    study = finished("sure")
    study.folder.write_json("chance.json", {"best": AgainstChance(0.75, 0.1, images=9, low=0.05)})
    version = Registered(study, store).version
    assert "80.0% on validation; on test" in version.description
    assert (
        "It is not shown to beat chance: on 9 test images its balanced score is 75.0 %, and chance "
        "is 10.0 %."
    ) in version.description
    assert version.tags["beats_chance"] == "not shown"


@from_table
def test_a_registration_whose_answer_is_lost_is_made_up_for_with_the_same_model(
    finished: Any, store: str, monkeypatch: pytest.MonkeyPatch, call: str
):
    study, client = finished("lost"), MlflowClient(store)
    own_run = StudyRun(study.study, store)
    real = getattr(MlflowClient, call)

    def cut(*given: Any, **named: Any):
        if call != "create_model_version":  # which the next attempt finds if it has arrived
            real(*given, **named)
        raise ConnectionError("the connection was cut")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, call, cut)
        with pytest.raises(TrackingError, match="cut"):
            register_winner(own_run)
    registered = Registered(study, store)
    (model,) = client.search_logged_models([own_run.experiment_id])
    assert (model.model_id, model.status) == (registered.model.model_id, LoggedModelStatus.READY)
    assert len(client.get_metric_history(own_run.run_id, "val_score")) == 1
    (version,) = client.search_model_versions("name = 'clipfit-digits'")
    assert version.source == model.artifact_location


def test_a_registry_that_fails_costs_the_study_nothing_and_is_made_up_for_later(
    finished: Any,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    study = finished("made-up")
    with monkeypatch.context() as broken:
        broken.setattr(registry._Registrar, "register", lambda self: 1 / 0)
        tracker = started(study, store)
        tracker.register()
        assert tracker.close(finished=True).lacks == ""
    assert study.folder.read_registration() is None
    assert f"clipfit-study sync {study.folder.path}" in caplog.text
    told = []
    sync(study, store, lambda: told.append(True))
    assert study.folder.read_registration() is not None
    assert told == [True], "tables and report say where the winner is"


def test_what_has_not_ended_is_neither_registered_nor_called_finished(finished: Any, store: str):
    study = finished("halfway")
    (study.folder.path / "trials/test-best-seed2/end.json").unlink()
    sync(study, store)
    assert study.folder.read_registration() is None
    client = MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "finished"]
    (parent,) = client.search_runs([experiment.experiment_id], "tags.study_parent = 'yes'")
    assert parent.info.status == "KILLED"


def test_names_of_models_have_no_slash_or_colon():
    assert model_name("digits") == "clipfit-digits"
    assert model_name("hf:owner/set") == "clipfit-hf-owner-set"
