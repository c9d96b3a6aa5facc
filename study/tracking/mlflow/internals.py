"""The private parts of MLflow that tracking depends on, all in this one module.

A release may move them without notice; a test of each one then fails, and only this file changes.
"""

import json
import os
import time
from typing import Any

from mlflow.pyfunc.scoring_server import _SERVER_MODEL_PATH

MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""The tag that makes an experiment's page show runs and metrics, not traces of agents."""
VIEW = "mlflow.sharedViewState."
"""The prefix of an experiment tag that holds a saved view; the view's key follows it."""
NAME = "attributes.`Run Name`"
"""The column of run names."""
WIDTH = 90
"""The width of a column in pixels."""
WIDTHS = {NAME: 170, "params.`distill_weight`": 110, "params.`subset`": 560}
"""The widths of columns that need more, in pixels; the names of groups need more than those."""


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
        order: the column to sort by, in descending order; it is shown first.
        columns: the columns shown after it.
        group_by: the tags by which runs are grouped.
    """
    shown = [order, *columns]
    state: dict[str, Any] = {
        "searchFilter": search,
        "orderByKey": order,
        "orderByAsc": False,
        "selectedColumns": shown,
        "columnOrder": [NAME, *shown],
        "columnWidths": {column: WIDTHS.get(column, WIDTH) for column in (NAME, *shown)},
    }
    if group_by:
        state["columnWidths"][NAME] = 320
        keys = [{"mode": "tag", "groupByData": tag} for tag in group_by]
        state["groupBy"] = {"aggregateFunction": "average", "groupByKeys": keys}
    now = int(time.time() * 1000)
    return json.dumps(
        {"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )


def runs_page(server: str, experiment_id: str, view: str = "studies") -> str:
    """Return the address of a saved view of an experiment's runs, in model-training mode.

    Args:
        server: where MLflow answers.
        experiment_id: the experiment's id.
        view: the key of one of the views in `study.tracking.mlflow.views`.
    """
    query = f"workflowType=machine_learning&viewStateShareKey={view}"
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"
