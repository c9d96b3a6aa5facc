"""Private parts of MLflow are where they were: each test fails once one moves.

The views with which an experiment opens, as a browser shows them, are in `test_pages.py`.
"""

import json
from pathlib import Path

import mlflow
import pytest
from mlflow.pyfunc import scoring_server
from packaging.version import Version

from study.config.trial_settings import settings_columns
from study.tracking.mlflow import mlflow_internals
from study.tracking.mlflow.mlflow_internals import VIEW_PREFIX, experiment_tags, viewing_hints
from study.tracking.mlflow.run_content import ENDED, TOTALS, TRIAL_TAGS

PAGES = Path(mlflow.__file__).parent / "server" / "js" / "build"


def test_a_scoring_server_is_known_by_its_environment(monkeypatch: pytest.MonkeyPatch):
    assert not mlflow_internals.in_scoring_server()
    monkeypatch.setenv(scoring_server._SERVER_MODEL_PATH, "model")
    assert mlflow_internals.in_scoring_server()
    application = Path(scoring_server.__file__).with_name("app.py").read_text()
    assert "os.environ[scoring_server._SERVER_MODEL_PATH]" in application


def test_its_pages_know_the_names_that_saved_views_are_made_of():
    names = {
        VIEW_PREFIX,
        *mlflow_internals.MODEL_TRAINING,
        *mlflow_internals.MODEL_TRAINING.values(),
        *("viewStateShareKey", "workflowType", "machine_learning"),
        *("searchFilter", "orderByKey", "selectedColumns", "columnOrder"),
        *("groupByKeys", "aggregateFunction"),
    }
    if Version(mlflow.__version__) >= Version("3.15"):  # earlier pages leave columns as they are
        names.add("columnWidths")
    for path in PAGES.rglob("*.js"):
        script = path.read_text(errors="replace")
        names = {name for name in names if name not in script}
    assert names == set()


def test_a_server_is_opened_and_a_store_is_browsed_by_a_command_that_a_shell_takes():
    page, trials = viewing_hints("https://me:p@s3cret@host", "7", "a1", "trials")
    runs = "https://***@host/#/experiments/7/runs"
    assert page == ("page", f"{runs}/a1?workflowType=machine_learning")
    assert trials[1].endswith("viewStateShareKey=trials")
    browse, page, _ = viewing_hints("sqlite:////my runs/mlflow.db", "7", "a1", "trials")
    assert browse[1] == "mlflow ui --backend-store-uri 'sqlite:////my runs/mlflow.db'"
    assert page[1].startswith("http://127.0.0.1:5000/#/")
    browse, *_ = viewing_hints(f"sqlite:///{Path.cwd()}/mlflow.db", "7", "a1", "trials")
    assert browse[1] == "mlflow ui --backend-store-uri sqlite:///mlflow.db"


UNTESTED = "tags.stage != 'study' and tags.stage != 'search' and tags.stage != 'final'"


@pytest.mark.parametrize(
    "key, score, condition, groups",
    [
        ("trials", "val_score", "tags.stage = 'search'", []),
        ("tested", "test_score", UNTESTED, ["label", "study"]),
    ],
)
def test_a_view_is_of_the_search_or_of_grouped_tests_and_has_columns_that_runs_have(
    key: str, score: str, condition: str, groups: list[str]
):
    view = json.loads(json.loads(experiment_tags()[f"{VIEW_PREFIX}{key}"])["state"])
    assert view["searchFilter"] == condition
    assert (view["orderByKey"], view["orderByAsc"]) == (f"metrics.`{score}`", False)
    grouped = view.get("groupBy", {}).get("groupByKeys", ())
    assert [group["groupByData"] for group in grouped] == groups
    shown = {
        *(f"metrics.`{name}`" for name in ("val_score", "test_score", "trainable", *TOTALS)),
        *(f"params.`{name}`" for name in (*settings_columns(), "seed")),
        *(f"tags.`{name}`" for name in (*TRIAL_TAGS, ENDED, "study")),
    }
    assert {*view["selectedColumns"]} <= shown
    assert view["columnOrder"][1:] == view["selectedColumns"]
