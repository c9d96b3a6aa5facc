"""The trials that are planned are those that run."""

from pathlib import Path
from typing import Any

import pytest

from study.commands.plan import plan_trials
from study.config.loading import build_config
from study.storage.study_folder import StudyFolder
from study.trial.study import Study

LORA = {"method": "lora", "lr": 0.01}


def study(tmp_path: Path, **values: Any) -> Study:
    config = build_config({"name": "mine", "storage": str(tmp_path), **values}, "here")
    return Study(config, StudyFolder(tmp_path / "mine"))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"baselines": {"full": {"peer": "full"}, "lora": {"subset": "none", "peer": LORA}}},
        {"trials": 9, "baselines": {"projection": {"peer": "projection"}}, "method_trials": 2},
    ],
    ids=["quickstart", "peers", "projection"],
)
def test_the_trials_of_the_plan_are_those_that_the_search_counts(
    tmp_path: Path, values: dict[str, Any]
):
    mine = study(tmp_path, search=values)
    planned = plan_trials(mine)
    assert sum(one.trials for one in planned.search) == mine.config.search.planned_trials
