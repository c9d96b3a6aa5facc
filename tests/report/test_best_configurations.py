"""Configurations that were found are told in tables, and become baselines of a next study."""

import io
from typing import Any

import yaml
from rich.console import Console

from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings
from study.protocols import FewShot
from study.report.best_configurations import (
    baselines_study_yaml,
    render_best_configurations,
)
from study.storage.ledger_files import JsonObject
from study.tracking.tracker import RankedConfiguration

SETTINGS = {"subset": "vision.ln[0:2]", "bias_lr": None, "ln_lr": 0.1, "distill_weight": 0.0}


def found(**changes: Any) -> RankedConfiguration:
    values: JsonObject = {
        **{"study": "late", "label": "trial 1", "dataset": "digits", "protocol": "few_shot"},
        **{"backbone": "embedded", "shots": 16, "trainable": 1536, "val_score": 0.9},
        **{"split_hash": "f" * 16, "test_score": 0.75, "test_seeds": 2},
        **{"run_id": "r", "parent_id": "p"},
    }
    settings = {name: changes.pop(name, value) for name, value in SETTINGS.items()}
    trial_settings = TrialSettings.from_column_values(settings)
    return RankedConfiguration(settings=trial_settings, **values | changes)


def values_of(text: str) -> JsonObject:
    """The values of a configuration that was printed, without the number of its format."""
    values = yaml.safe_load(text)
    assert values.pop("format") == 2
    return values


def baselines(text: str) -> JsonObject:
    config = build_config(values_of(text), "found")
    return {
        label: baseline.model_dump()
        for label, baseline in config.search.baselines.items()
        if label.startswith("found-")
    }


def test_a_row_has_its_test_if_it_was_made():
    console = Console(width=160, record=True, file=io.StringIO())
    untested = found(study="early", test_score=None, test_seeds=0)
    console.print(render_best_configurations([found(), untested]))
    rows = [line for line in console.export_text().splitlines() if "trial 1" in line]
    assert ["75.0 (2)" in row for row in rows] == [True, False]


def test_each_dataset_has_a_table_of_its_own():
    console = Console(width=80, record=True, file=io.StringIO())
    rows = [found(), found(dataset="dtd"), found(study="next")]
    console.print(render_best_configurations(rows))
    lines = console.export_text().splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith("Best on")]
    assert len(starts) == 2
    assert sum("trial 1" in line for line in lines[starts[0] : starts[1]]) == 2


def test_labels_are_made_of_what_a_label_may_hold_and_what_is_found_twice_has_one():
    rows = [found(), found(ln_lr=0.2), found(study="Of both", ln_lr=0.3), found(study="early")]
    named = baselines(baselines_study_yaml(rows, StudyConfig()))
    assert list(named) == ["found-late-1", "found-late-1-2", "found-of-both-1"]
    assert [entry["rates"]["ln"] for entry in named.values()] == [0.1, 0.2, 0.3]


def test_the_budget_holds_all_that_was_found_twice_over():
    few = build_config({"search": {"trials": 9}}, "few")
    rows = [found(ln_lr=rate / 100) for rate in range(1, 21)]
    values = values_of(baselines_study_yaml(rows, few))
    assert values["search"]["trials"] == 2 * len(values["search"]["baselines"]) > 40


def test_what_an_ablation_found_is_searched_beside_not_ablated_again():
    values = {**StudyConfig().model_dump(mode="json"), "ablation": {"design": "only_one"}}
    ablation = build_config(values, "an ablation")
    again = values_of(baselines_study_yaml([found()], ablation))
    assert FewShot().searches(build_config(again, "found"))
    assert "found-late-1" in again["search"]["baselines"]
