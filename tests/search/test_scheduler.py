"""Successive halving judges trials by those that ended before as well."""

from types import SimpleNamespace
from typing import Any

import pytest

from study.config.search_section import AshaConfig
from study.search.deadline import Deadline
from study.search.scheduler import make_scheduler
from study.trial import TrialConfig

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]


def test_successive_halving_remembers_trials_that_ended_before(searched: Any):
    history = []
    for trial in searched.folder.trials():
        config = TrialConfig.model_validate(trial.read_config())
        if config.group != "baseline":
            history.append((config, trial.read_reports()))
    new = SimpleNamespace(trial_id="new", config={"group": "search"})
    for known, expected in ((history, "STOP"), ([], "CONTINUE")):
        scheduler = make_scheduler(AshaConfig(), 4, known, Deadline(3600.0))
        scheduler.on_trial_add(None, new)
        result = {"epoch": 3, "epochs": 4, "score": 0.0, "time_this_iter_s": 1.0}
        assert scheduler.on_trial_result(None, new, result) == expected
