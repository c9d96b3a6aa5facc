"""What a study says before it runs."""

from pathlib import Path
from typing import Any

import pytest

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


CELLS = {"design": "only_one", "rates": [0.01, 0.1]}
PEERS = {"full": {"peer": "full"}, "lora": {"peer": "lora"}}
BY_KIND = {"bias": [0.1], "ln": [0.1, 0.2, 0.3]}


@pytest.mark.parametrize(
    ("values", "amounts"),
    [
        ({}, ["48 trials", "4 baselines", "12 with", "32 that choose", "1 trial of", "5 seeds"]),
        ({"search": {"baselines": PEERS}}, ["4 baselines", "8 trials of full", "8 trials of LoRA"]),
        ({"protocol": "zero_shot"}, ["1 configuration,", "1 seed."]),
        ({"search": {"trials": 0}}, ["5 configurations,", "5 seeds"]),
        ({"ablation": {"design": "pairs"}}, ["17 cells", "1 learning rate each", "5 seeds"]),
        ({"ablation": CELLS}, ["14 cells", "2 learning rates", "28 trials", "5 seeds"]),
        (
            {"ablation": {**CELLS, "rates": BY_KIND, "extend": False}},
            ["14 cells", "3 combinations", "30 trials to choose their rates. "],
        ),
    ],
)
def test_one_thing_is_not_called_many(
    tmp_path: Path, values: dict[str, Any], amounts: list[str]
) -> None:
    text = plan(study(tmp_path, **values))
    for part in amounts:
        assert part in text, text
