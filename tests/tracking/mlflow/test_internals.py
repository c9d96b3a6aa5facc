"""Private parts of MLflow are where they were: each test fails once one moves."""

from pathlib import Path

import mlflow
import pytest
from mlflow.pyfunc import scoring_server

from study.tracking.mlflow import internals

PAGES = Path(mlflow.__file__).parent / "server" / "js" / "build"


def test_a_scoring_server_is_known_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not internals.in_scoring_server()
    monkeypatch.setenv(scoring_server._SERVER_MODEL_PATH, "model")
    assert internals.in_scoring_server()
    application = Path(scoring_server.__file__).with_name("app.py").read_text()
    assert "os.environ[scoring_server._SERVER_MODEL_PATH]" in application


@pytest.mark.parametrize(
    "name",
    [
        internals.VIEW,
        *internals.MODEL_TRAINING,
        *internals.MODEL_TRAINING.values(),
        *("viewStateShareKey", "workflowType", "machine_learning"),
        *("searchFilter", "orderByKey", "selectedColumns", "columnOrder", "columnWidths"),
        *("groupByKeys", "aggregateFunction"),
    ],
)
def test_its_pages_know_the_names_that_saved_views_are_made_of(name: str) -> None:
    scripts = PAGES.rglob("*.js")
    assert any(name in path.read_text(errors="replace") for path in scripts)
