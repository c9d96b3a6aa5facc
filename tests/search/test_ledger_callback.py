"""Workers that hang are ended, and observers at fault end nothing."""

from pathlib import Path
from unittest.mock import Mock, create_autospec

import pytest
import ray
from ray.tune.experiment import Trial

from study.search import ledger_callback
from study.search.ledger_callback import LedgerCallback
from study.search.observers import notify
from study.search.searcher import StudySearcher
from study.storage import atomic
from tests.clock import Clock
from tests.tiny_study import Listener
from tests.written_study import Written

pytestmark = pytest.mark.usefixtures("ray_cluster")  # Tune starts one of its own otherwise


def test_a_worker_that_is_silent_for_too_long_is_ended_once_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clock, killed = Clock(), Mock()
    monkeypatch.setattr(ledger_callback, "time", clock)
    monkeypatch.setattr(ray, "kill", killed)
    study = Written(tmp_path, "mine")
    searcher = StudySearcher(study.folder, [study.trial(number) for number in range(3)])
    callback = LedgerCallback(searcher, [], limit=10)
    trials = [Trial("any", stub=True) for _ in range(3)]
    for trial in trials:
        searcher.suggest(trial.trial_id)
        trial.temporary_state.ray_actor = trial.trial_id
        callback.on_trial_start(trial)
    silent, reporting, waiting = trials
    waiting.temporary_state.ray_actor = None
    clock.now += 10 + atomic.WAIT_SECONDS + ledger_callback.GRACE
    callback.on_step_end()
    killed.assert_not_called()
    callback.on_trial_result(reporting, {"epoch": 1, "metrics": {}})
    clock.now += 1
    callback.on_step_end()
    callback.on_step_end()
    killed.assert_called_once_with(silent.trial_id)


def test_an_observer_that_raises_ends_nothing_and_the_next_one_hears(
    caplog: pytest.LogCaptureFixture,
):
    faulty, hears = (create_autospec(Listener, instance=True) for _ in range(2))
    faulty.trial_ended.side_effect = ValueError("a mistake of another package")
    notify([faulty, hears], lambda observer: observer.trial_ended(1, 2, 3))  # type: ignore[arg-type]
    hears.trial_ended.assert_called_once_with(1, 2, 3)
    assert "failed; the study goes on" in caplog.text
