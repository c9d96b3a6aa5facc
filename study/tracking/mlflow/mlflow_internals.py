"""The private parts of MLflow that tracking depends on, and the code that needs them.

A release may move them without notice; the test of each one then fails, and only this file changes.
Most concern how MLflow's pages show an experiment: as model training, with saved views under
"Views". A saved view is a tag of the experiment. A version of MLflow that expects another form of
this tag shows its plain table instead, and everything else still works.
"""

import json
import os
import time
from pathlib import Path

from study.config.trial_settings import rate_column
from study.method.parameters import kind_names
from study.process.templates import templates

MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""The tag that makes an experiment's page show runs and metrics, not traces of agents."""
VIEW_PREFIX = "mlflow.sharedViewState."
"""The prefix of the tag with a saved view of an experiment; the view's key follows it."""


def in_scoring_server() -> bool:
    """Return whether this process answers requests for ``mlflow models serve``."""
    # Where a model is loaded, MLflow has imported it already. Elsewhere it takes seconds and warns.
    from mlflow.pyfunc.scoring_server import _SERVER_MODEL_PATH

    return _SERVER_MODEL_PATH in os.environ


def experiment_tags() -> dict[str, str]:
    """Return the tags of a new experiment: its kind, and the saved views that a study links to."""
    template = templates(Path(__file__).parent).get_template("views.json.jinja")
    rate_columns = [rate_column(kind) for kind in kind_names()]
    now = int(time.time() * 1000)
    tags = dict(MODEL_TRAINING)
    for key, view in json.loads(template.render(rate_columns=rate_columns)).items():
        state = json.dumps(view["state"])
        saved = {"name": view["name"], "createdAt": now, "updatedAt": now, "state": state}
        tags[f"{VIEW_PREFIX}{key}"] = json.dumps(saved)
    return tags


def run_pages(server: str, experiment_id: str, run_id: str, view: str) -> tuple[str, str]:
    """Return the addresses of a run's page and of a saved view, in model-training mode.

    Args:
        server: the address at which MLflow answers.
        experiment_id: the experiment's id.
        run_id: the run's id.
        view: the key of one of the views in `experiment_tags`.
    """
    runs = f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs"
    mode = "?workflowType=machine_learning"
    return f"{runs}/{run_id}{mode}", f"{runs}{mode}&viewStateShareKey={view}"
