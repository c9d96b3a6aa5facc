"""Find the best configurations of all studies on a tracking server."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.trial_settings import HEADS, TrialSettings
from study.data.shots import ALL
from study.tracking.mlflow import server
from study.tracking.mlflow.run_content import ENDED, METHOD_PREFIX
from study.tracking.tracker import RankedConfiguration


def best_configurations(
    uri: str, *, study: str | None, where: str | None, top: int
) -> list[RankedConfiguration]:
    """Return the configurations with the best validation scores, the best first.

    Only trials of the search that ran all their epochs count. If a configuration was tested, its
    test score is the mean over the seeds, with the head that the trial is used with.

    Args:
        uri: the address of the tracking server or store.
        study: the name of the one study to search; None means all studies.
        where: a further condition in MLflow's filter syntax, such as
            ``params.dataset = 'digits'``.
        top: the largest number of configurations to return.

    Raises:
        TrackingError: the server does not answer, or does not understand ``where``.
    """
    conditions = [
        "tags.stage = 'search'",
        f"tags.{ENDED} = 'finished'",
        *([f"tags.study = '{study}'"] if study else []),
        *([where] if where else []),
    ]
    return server.call_mlflow(
        server.ANSWERS_WITHIN,
        lambda: list(_search(server.open_client(uri), " and ".join(conditions), top)),
        f"{server.redact_uri(uri)} does not give runs",
        "; a condition reads like params.dataset = 'digits' and metrics.trainable < 5000",
    )


def read_exact(
    uri: str, configurations: Sequence[RankedConfiguration]
) -> tuple[list[RankedConfiguration], StudyConfig]:
    """Return ranked configurations with the unrounded settings, and the study of the first.

    The settings are those of their trials, since MLflow's parameters are rounded.

    Raises:
        TrackingError: the server does not give the files of a run; it has the configuration of a
            study, ``study.yaml``, only once the study has ended.
    """
    with tempfile.TemporaryDirectory() as scratch:

        def download(run_id: str, name: str) -> Path:
            path = server.call_mlflow(
                server.ANSWERS_WITHIN,
                lambda: server.open_client(uri).download_artifacts(run_id, name, scratch),
                f"{server.redact_uri(uri)} does not have {name} of run {run_id}",
            )
            return Path(path)

        exact = []
        for found in configurations:
            values = json.loads(download(found.run_id, "config.json").read_bytes())["settings"]
            settings = TrialSettings.model_validate({**values, "head": found.settings.head})
            exact.append(replace(found, settings=settings))
        study = download(configurations[0].parent_id, "study.yaml")
        return exact, load_config(study, frozen=True)


def _search(client: MlflowClient, condition: str, top: int) -> Iterator[RankedConfiguration]:
    """Yield the best configurations that meet a condition, each with its mean test score."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    # Equal scores are ordered as in `study.search.choice.rank_finished_trials`.
    order = ["metrics.val_score DESC", "metrics.trainable ASC", "attributes.start_time ASC"]
    runs = client.search_runs(experiments, condition, order_by=order, max_results=top)
    test_scores = defaultdict(list)
    for study_id in {run.data.tags["study_id"] for run in runs}:
        tests = f"tags.stage = 'test' and tags.study_id = '{study_id}'"
        for run in server.search_all_runs(client, experiments, tests):
            for head in HEADS:
                score = run.data.metrics.get(f"test_score_{head}")
                settings = _trial_settings(run).model_copy(update={"head": head})
                if score is not None:
                    test_scores[study_id, settings].append(score)
    for run in runs:
        params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
        settings = _trial_settings(run)
        scores = test_scores[tags["study_id"], settings]
        yield RankedConfiguration(
            study=tags["study"],
            label=tags["label"],
            dataset=params["dataset"],
            protocol=params["protocol"],
            backbone=params["backbone"],
            shots=ALL if params["shots"] == ALL else int(params["shots"]),
            settings=settings,
            trainable=int(metrics["trainable"]),
            val_score=metrics["val_score"],
            split_hash=tags["split_hash"],
            test_score=sum(scores) / len(scores) if scores else None,
            test_seeds=len(scores),
            run_id=run.info.run_id,
            parent_id=tags[MLFLOW_PARENT_RUN_ID],
        )


def _trial_settings(run: Run) -> TrialSettings:
    """Return the settings of a trial's run."""
    values: dict[str, Any] = dict(run.data.params)
    method = {
        name.removeprefix(METHOD_PREFIX): text
        for name, text in run.data.params.items()
        if name.startswith(METHOD_PREFIX)
    }
    if "lr" in method:
        values |= {"subset": "none", "method": {**method, "method": values["subset"]}}
    return TrialSettings.from_column_values(values)
