"""What a study says before it runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from study.config.loading import build_config
from study.storage.ledger import StudyFolder
from study.trial.study import Study
from study.workflow.announcing import plan


def study(tmp_path: Path, **values: Any) -> Study:
    config = build_config({"name": "mine", "storage": str(tmp_path), **values}, "here")
    return Study(config, StudyFolder(tmp_path / "mine"))


def test_a_plan_counts_the_trials_of_each_part_and_the_seeds(tmp_path: Path) -> None:
    search = {"trials": 8, "minutes": 5}
    text = plan(study(tmp_path, search=search, confirm={"seeds": [1, 2]}))
    assert text.startswith("8 trials in at most 5 minutes: 4 baselines, 2 with ")
    for part in (", 2 that choose", "1 trial of a linear classifier", "2 seeds"):
        assert part in text


CASES = yaml.safe_load(Path(__file__).with_name("amounts.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("values", "amounts"), CASES)
def test_one_thing_is_not_called_many(
    tmp_path: Path, values: dict[str, Any], amounts: list[str]
) -> None:
    text = plan(study(tmp_path, **values))
    for part in amounts:
        assert part in text, text
