"""The private parts of MLflow that tracking depends on, and the code that needs them.

A release may move them without notice; the test of each one then fails, and only this file changes.
Most concern how MLflow's pages show an experiment: as model training, with saved views under
"Views", in the form that MLflow's own "Save view" writes. A saved view is a tag of the experiment.
A version of MLflow that expects another form shows its plain table, and everything else works.
"""

import json
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.config.trial_settings import rate_column
from study.errors import redacted_text
from study.method.parameters import kind_names

MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""The tag that makes an experiment's page show runs and metrics, not traces of agents."""
VIEW_PREFIX = "mlflow.sharedViewState."
"""The prefix of the tag with a saved view of an experiment; the view's key follows it."""
RUN_NAME = "attributes.`Run Name`"
WIDTHS = {"params.`distill_weight`": 110, "params.`subset`": 300}
"""The widths of columns that differ from the others', in pixels."""


def in_scoring_server() -> bool:
    """Return whether this process answers requests for ``mlflow models serve``."""
    # Where a model is loaded, MLflow has imported it already. Elsewhere it takes seconds and warns.
    from mlflow.pyfunc.scoring_server import _SERVER_MODEL_PATH

    return _SERVER_MODEL_PATH in os.environ


def experiment_tags() -> dict[str, str]:
    """Return the tags of a new experiment: its kind, and the saved views that a study links to."""
    # Stages without a test on several seeds are not compared by it.
    tested = " and ".join(f"tags.stage != '{stage}'" for stage in ("study", "search", "final"))
    own = ["tags.`ended`", "metrics.`epochs`", "tags.`group`", "tags.`study`"]
    seeds = ["params.`seed`", "tags.`study`"]
    views = {
        "trials": (
            "Trials, by validation score",
            _view("tags.stage = 'search'", "val_score", own),
        ),
        "tested": (
            "Tested, by test score",
            _view(tested, "test_score", seeds, groups=("label", "study")),
        ),
    }
    now = int(time.time() * 1000)
    tags = dict(MODEL_TRAINING)
    for key, (name, state) in views.items():
        saved = {"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
        tags[f"{VIEW_PREFIX}{key}"] = json.dumps(saved)
    return tags


def _view(
    search: str, metric: str, columns: Sequence[str], *, groups: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a view, descending by a metric; runs with the same tags may be groups."""
    rates = [rate_column(kind) for kind in kind_names()]
    params = [f"params.`{name}`" for name in ("subset", *rates, "distill_weight", "head")]
    score, subset, trainable = f"metrics.`{metric}`", params[0], "metrics.`trainable`"
    shown = [score, subset, trainable, *params[1:], "params.`alpha`", *columns]
    widths = {column: WIDTHS.get(column, 90) for column in shown}
    view: dict[str, Any] = {
        "searchFilter": search,
        "orderByKey": score,
        "orderByAsc": False,
        "selectedColumns": shown,
        "columnOrder": [RUN_NAME, *shown],
        "columnWidths": {**widths, RUN_NAME: 270},
    }
    if groups:
        keys = [{"mode": "tag", "groupByData": tag} for tag in groups]
        view["groupBy"] = {"aggregateFunction": "average", "groupByKeys": keys}
    return view


def viewing_hints(uri: str, experiment_id: str, run_id: str, view: str) -> list[tuple[str, str]]:
    """Return the command that opens MLflow's pages, and the addresses of a study's pages.

    The addresses are on the server, or those at which `mlflow ui` shows a local store by default.
    They open in MLflow's mode for model training.

    Args:
        uri: the address of the tracking server or store.
        experiment_id: the id of the study's experiment.
        run_id: the id of the study's own run.
        view: the key of one of the views in `experiment_tags`, which shows the study's trials.
    """
    server, hints = redacted_text(uri), []
    if not uri.startswith(("http://", "https://")):
        store = server.replace(f"///{Path.cwd()}/", "///")
        command = f"mlflow ui --backend-store-uri {shlex.quote(store)}"
        server, hints = "http://127.0.0.1:5000", [("browse", command)]
    runs = f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs"
    mode = "?workflowType=machine_learning"
    page, trials = f"{runs}/{run_id}{mode}", f"{runs}{mode}&viewStateShareKey={view}"
    return [*hints, ("page", page), ("trials", trials)]
