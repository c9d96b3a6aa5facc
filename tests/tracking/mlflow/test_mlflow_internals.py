"""Private parts of MLflow are where they were: each test fails once one moves.

An experiment opens on views that answer the usual questions.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.pyfunc import scoring_server

from study.config.trial_settings import settings_columns
from study.tracking.mlflow import mlflow_internals
from study.tracking.mlflow.mirror import sync_to_mlflow
from study.tracking.mlflow.mlflow_internals import VIEW_PREFIX, experiment_tags, run_page, runs_page
from study.tracking.mlflow.run_content import ENDED, TOTALS
from study.tracking.mlflow.trial_run import TRIAL_TAGS
from study.workflow.outputs import write_outputs
from tests.browser import Browser

PAGES = Path(mlflow.__file__).parent / "server" / "js" / "build"
COLUMN = re.compile(r"(metrics|params|tags|attributes)\.`(.+)`")
# The cells of the first row: names are in a part of the table of their own.
FIRST_ROW = """[...document.querySelectorAll('.ag-row[row-index="0"]')]
  .map((part) => part.innerText).join(" ")"""

WIDE = 1000
"""Pixels; wider than any of MLflow's own pictures, and less than two panels."""


def test_a_scoring_server_is_known_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not mlflow_internals.in_scoring_server()
    monkeypatch.setenv(scoring_server._SERVER_MODEL_PATH, "model")
    assert mlflow_internals.in_scoring_server()
    application = Path(scoring_server.__file__).with_name("app.py").read_text()
    assert "os.environ[scoring_server._SERVER_MODEL_PATH]" in application


@pytest.mark.parametrize(
    "name",
    [
        mlflow_internals.VIEW_PREFIX,
        *mlflow_internals.MODEL_TRAINING,
        *mlflow_internals.MODEL_TRAINING.values(),
        *("viewStateShareKey", "workflowType", "machine_learning"),
        *("searchFilter", "orderByKey", "selectedColumns", "columnOrder", "columnWidths"),
        *("groupByKeys", "aggregateFunction", "compareRunCharts", "compareRunSections"),
        *("metricSectionId", "isReordered", mlflow_internals.CHARTS),
    ],
)
def test_its_pages_know_the_names_that_saved_views_are_made_of(name: str) -> None:
    scripts = PAGES.rglob("*.js")
    assert any(name in path.read_text(errors="replace") for path in scripts)


@pytest.fixture(scope="module")
def shown(
    finish: Callable[..., Any], mlflow_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A finished study that the server has whole, report and all."""
    study = finish(tmp_path_factory.mktemp("shown"), "shown", experiment="shown")
    write_outputs(study.folder)
    sync_to_mlflow(study.study, mlflow_server, lambda: write_outputs(study.folder))
    return study


def page(server: str, view: str) -> str:
    experiment = MlflowClient(server).get_experiment_by_name("shown")
    assert experiment is not None
    return runs_page(server, experiment.experiment_id, view)


@pytest.mark.long
def test_the_winner_is_the_first_row_of_the_trials_with_its_settings(
    browser: Browser, shown: Any, mlflow_server: str
) -> None:
    browser.open(page(mlflow_server, "trials"))
    text = browser.wait_for_text("trial 1 ★", "trial 2", "val_score", "subset", "3 matching runs")
    assert text.index("trial 1 ★") < text.index("trial 2") < text.index("zero-shot")
    row = browser.evaluate(FIRST_ROW)
    for cell in ("trial 1 ★", "0.8", "1728", "0.05", "0.1", "text.mlp.fc2.bias + vision.ln"):
        assert cell in row


@pytest.mark.long
def test_seeds_of_a_candidate_are_one_group(
    browser: Browser, shown: Any, mlflow_server: str
) -> None:
    browser.open(page(mlflow_server, "tested"))
    browser.wait_for_text("best ★ · seed 1", "best ★ · seed 2", "label: best, study: shown")


@pytest.mark.long
def test_the_report_is_found_from_the_page_of_the_study(
    browser: Browser, shown: Any, mlflow_server: str
) -> None:
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("shown")
    assert experiment is not None
    (own,) = client.search_runs([experiment.experiment_id], "tags.study_parent = 'yes'")
    browser.open(run_page(mlflow_server, experiment.experiment_id, own.info.run_id))
    version = shown.folder.read_registration().uri
    browser.wait_for_text(
        "trial 1 ★ won", "% on test", f'mlflow.pyfunc.load_model("{version}").predict'
    )
    browser.click("Artifacts")
    browser.wait_for_text("leaderboard.csv")
    browser.click("report.html")
    browser.wait_for_text("What was asked", "What to use")
    browser.click("plots")
    browser.click("pareto.png")
    browser.wait_for(f"[...document.images].some((one) => one.naturalWidth > {WIDE})")


def views() -> dict[str, dict[str, Any]]:
    """What each view shows, by its key."""
    tags = experiment_tags()
    saved = {
        key.removeprefix(VIEW_PREFIX): tags[key] for key in tags if key.startswith(VIEW_PREFIX)
    }
    return {key: json.loads(json.loads(view)["state"]) for key, view in saved.items()}


def test_a_view_is_of_the_search_or_of_tests_and_has_the_best_first() -> None:
    found = {key: (view["searchFilter"], view["orderByKey"]) for key, view in views().items()}
    assert found == {
        "trials": ("tags.stage = 'search'", "metrics.`val_score`"),
        "tested": ("tags.stage != 'study' and tags.stage != 'search'", "metrics.`test_score`"),
    }
    for view in views().values():
        assert not view["orderByAsc"]
        assert view["selectedColumns"][0] == view["orderByKey"]


def test_every_column_is_of_something_that_runs_have() -> None:
    had = {
        "metrics": {"val_score", "test_score", "trainable", *TOTALS},
        "params": {*settings_columns(), "seed"},
        "tags": {*TRIAL_TAGS, ENDED, "study"},
    }
    for key, view in views().items():
        for column in view["selectedColumns"]:
            named = COLUMN.fullmatch(column)
            assert named is not None
            assert named[2] in had[named[1]], f"{column} of {key}"
            assert column in view["columnWidths"]


def test_seeds_of_what_was_tested_are_grouped_and_search_trials_are_not() -> None:
    for key, view in views().items():
        grouped = [group["groupByData"] for group in view.get("groupBy", {}).get("groupByKeys", ())]
        assert grouped == (["label", "study"] if key == "tested" else [])


def test_the_subset_stands_right_after_the_score_where_trials_are_shown() -> None:
    for view, score in (("trials", "val_score"), ("tested", "test_score")):
        state = json.loads(json.loads(experiment_tags()[f"{VIEW_PREFIX}{view}"])["state"])
        expected = [f"metrics.`{score}`", "params.`subset`"]
        assert state["selectedColumns"][:2] == expected
        assert state["columnOrder"][1:3] == expected
