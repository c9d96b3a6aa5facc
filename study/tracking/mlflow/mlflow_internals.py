"""The private parts of MLflow that tracking depends on, and the code that needs them.

A release may move them without notice; the test of each one then fails, and only this file changes.
Most concern how MLflow's pages show an experiment: as model training, with saved views under
"Views". A saved view is a tag of the experiment. A version of MLflow that expects another form of
this tag shows its plain table instead, and everything else still works.
"""

import json
import os
import time
from typing import Any

from mlflow.pyfunc.scoring_server import _SERVER_MODEL_PATH

from study.config.trial_settings import rate_column
from study.method.parameters import kind_names

MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""The tag that makes an experiment's page show runs and metrics, not traces of agents."""
VIEW_PREFIX = "mlflow.sharedViewState."
"""The prefix of the tag with a saved view of an experiment; the view's key follows it."""
CHARTS = "Model metrics"
"""The title of the section with the charts of metrics."""
NAME_COLUMN = "attributes.`Run Name`"
"""The column of run names."""
WIDTHS = {NAME_COLUMN: 170, "params.`distill_weight`": 110, "params.`subset`": 400}
"""The widths of columns that need more than 90 pixels; names of groups need 320."""
RATE_COLUMNS = [f"params.`{rate_column(kind)}`" for kind in kind_names()]
SETTINGS_COLUMNS = [
    "params.`subset`",
    "metrics.`trainable`",
    *RATE_COLUMNS,
    "params.`distill_weight`",
    "params.`head`",
    "params.`strength`",
]
"""The columns of the settings that differ between most trials; the subset follows the score."""


def in_scoring_server() -> bool:
    """Return whether this process answers requests for ``mlflow models serve``."""
    return _SERVER_MODEL_PATH in os.environ


def saved_view(
    name: str,
    *,
    search: str,
    order: str,
    columns: list[str],
    group_by: tuple[str, ...] = (),
) -> str:
    """Return a view in the form that MLflow's own "Save view" writes.

    Args:
        name: the view's title in the list of views.
        search: the filter that selects runs, in MLflow's syntax.
        order: the metric to sort by, in descending order; its column and its chart come first.
        columns: the other columns.
        group_by: the tags by which runs are grouped.
    """
    selected = [order, *columns]
    all_columns = [NAME_COLUMN, *selected]
    metric = order.removeprefix("metrics.").strip("`")
    chart = {
        "uuid": "first",
        "type": "BAR",
        "metricKey": metric,
        "displayName": metric,
        "metricSectionId": "metrics",
        "isGenerated": True,
        "runsCountToCompare": 10,
    }
    section = {"uuid": "metrics", "name": CHARTS, "display": True, "isReordered": True}
    state: dict[str, Any] = {
        "searchFilter": search,
        "orderByKey": order,
        "orderByAsc": False,
        "selectedColumns": selected,
        "columnOrder": all_columns,
        "columnWidths": {column: WIDTHS.get(column, 90) for column in all_columns},
        # MLflow adds a chart of every other metric after it, over steps if the metric has any.
        "compareRunCharts": [chart],
        "compareRunSections": [section],
    }
    if group_by:
        state["columnWidths"][NAME_COLUMN] = 320
        state["groupBy"] = {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "tag", "groupByData": tag} for tag in group_by],
        }
    now = int(time.time() * 1000)
    return json.dumps(
        {"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )


NOT_COMPARED = ("study", "search", "average", "member", "unknown", "refit")
"""The stages without a test on several seeds."""


def experiment_tags() -> dict[str, str]:
    """Return the tags of a new experiment: its kind, and the saved views that a study links to."""
    trials = saved_view(
        "Trials, by validation score",
        search="tags.stage = 'search'",
        order="metrics.`val_score`",
        columns=[
            *SETTINGS_COLUMNS,
            "tags.`ended`",
            "metrics.`epochs`",
            "tags.`arm`",
            "tags.`study`",
        ],
    )
    tested = saved_view(
        "Tested, by test score",
        search=" and ".join(f"tags.stage != '{stage}'" for stage in NOT_COMPARED),
        order="metrics.`test_score`",
        columns=[*SETTINGS_COLUMNS, "params.`seed`", "tags.`study`"],
        group_by=("label", "study"),
    )
    return MODEL_TRAINING | {f"{VIEW_PREFIX}trials": trials, f"{VIEW_PREFIX}tested": tested}


def run_page(server: str, experiment_id: str, run_id: str) -> str:
    """Return the address of a run's own page, in model-training mode."""
    return _page(server, f"{experiment_id}/runs/{run_id}")


def runs_page(server: str, experiment_id: str, view: str) -> str:
    """Return the address of a saved view of an experiment's runs, in model-training mode.

    Args:
        server: the address at which MLflow answers.
        experiment_id: the experiment's id.
        view: the key of one of the views in `experiment_tags`.
    """
    page = _page(server, f"{experiment_id}/runs")
    return f"{page}&viewStateShareKey={view}"


def _page(server: str, path: str) -> str:
    return f"{server.rstrip('/')}/#/experiments/{path}?workflowType=machine_learning"
