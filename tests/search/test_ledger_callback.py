"""What the driver keeps of a trial that has ended."""

from pathlib import Path
from unittest.mock import create_autospec

import pytest
from ray.tune.experiment import Trial

from study.search.hung_workers import HungWorkers
from study.search.ledger_callback import LedgerCallback
from study.search.observers import notify
from study.search.searcher import StudySearcher
from tests.not_none import not_none
from tests.tiny_study import Listener
from tests.written_study import Written

pytestmark = pytest.mark.usefixtures("ray_cluster")  # Tune starts one of its own otherwise


def test_nothing_is_kept_of_what_tune_counts_of_a_trial_that_has_ended(tmp_path: Path):
    study = Written(tmp_path, "mine")
    config = study.trial(0)
    study.report(config, 1)
    trial = Trial("any", config=config.model_dump(mode="json"), stub=True)
    trial.update_last_result({"epoch": 1, "epochs": 1, "score": 0.5, "failed": False})
    assert trial.metric_n_steps.keys() == trial.metric_analysis.keys() >= {"epoch", "score"}
    searcher = StudySearcher(study.folder, [config])
    searcher.suggest(trial.trial_id)
    LedgerCallback(searcher, [], HungWorkers(None)).on_trial_complete(trial)
    assert trial.metric_n_steps == trial.metric_analysis == {}
    assert trial.last_result["score"] == 0.5
    assert not_none(study.folder.trial(config.trial_id).read_end()).status == "finished"


def test_an_observer_that_raises_ends_nothing_and_the_next_one_hears(
    caplog: pytest.LogCaptureFixture,
):
    faulty, hears = (create_autospec(Listener, instance=True) for _ in range(2))
    faulty.trial_ended.side_effect = ValueError("a mistake of another package")
    notify([faulty, hears], lambda observer: observer.trial_ended(1, 2, 3))  # type: ignore[arg-type]
    hears.trial_ended.assert_called_once_with(1, 2, 3)
    assert "failed; the study goes on" in caplog.text
