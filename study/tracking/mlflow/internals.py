"""Private parts of MLflow that tracking depends on; nothing else in it uses any.

A release may move them without notice. Each has a test that fails then, so that it is mended here.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from mlflow.pyfunc.scoring_server import _SERVER_MODEL_PATH

MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""The tag by which an experiment opens on runs and metrics rather than on traces of agents."""
VIEW = "mlflow.sharedViewState."
"""Begins the tag of an experiment that holds a saved view; the view's key follows."""
NAME = "attributes.`Run Name`"
"""The column of names."""


def in_scoring_server() -> bool:
    """Return whether this process is one that ``mlflow models serve`` answers requests with."""
    return _SERVER_MODEL_PATH in os.environ


def saved_view(
    name: str,
    *,
    search: str,
    order: str,
    columns: list[str],
    widths: dict[str, int],
    group_by: tuple[str, ...] = (),
) -> str:
    """Return a view in the form that MLflow's own "Save view" writes.

    Args:
        name: in the list of views.
        search: which runs are found.
        order: the column that they are ordered by, the largest first.
        columns: those shown beside the name.
        widths: of columns, in pixels.
        group_by: tags by which runs are grouped.
    """
    state: dict[str, Any] = {
        "searchFilter": search,
        "orderByKey": order,
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [NAME, *columns],
        "columnWidths": widths,
    }
    if group_by:
        keys = [{"mode": "tag", "groupByData": tag} for tag in group_by]
        state["groupBy"] = {"aggregateFunction": "average", "groupByKeys": keys}
    now = int(time.time() * 1000)
    return json.dumps(
        {"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )


def view_page(server: str, experiment_id: str, view: str) -> str:
    """Return the address of an experiment's runs in a saved view, in model-training mode."""
    query = f"workflowType=machine_learning&viewStateShareKey={view}"
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"
