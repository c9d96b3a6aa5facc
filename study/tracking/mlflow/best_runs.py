"""Finds the best configurations over all studies that a tracking server holds."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings, settings_columns
from study.errors import StudyError
from study.storage.study_folder import StudyFolder
from study.tracking.mlflow.run_content import ENDED, PARAMETER_DIGITS, PEER, rounded
from study.tracking.mlflow.server import ANSWERS_WITHIN, all_runs, ask, open_client, redacted
from study.tracking.tracker import RankedConfiguration


def best_configurations(
    uri: str, *, study: str | None, where: str | None, top: int, storage: Path
) -> list[RankedConfiguration]:
    """Return the configurations with the best validation scores, the best first.

    Args:
        uri: the address of the tracking server or store.
        study: the name of the one study to search; None means all studies.
        where: a further condition in MLflow's filter syntax, such as
            ``params.dataset = 'digits'``.
        top: how many configurations to return at most.
        storage: a folder where studies are looked for, besides the one that each was run in.

    Raises:
        TrackingError: the server does not answer, or does not understand ``where``.
    """
    conditions = [
        "tags.stage = 'search'",
        "tags.study_id LIKE '%'",
        "attributes.status = 'FINISHED'",
        *([f"tags.study = '{study}'"] if study else []),
        *([where] if where else []),
    ]

    return ask(
        ANSWERS_WITHIN,
        lambda: list(_search(open_client(uri), " and ".join(conditions), top, storage)),
        f"{redacted(uri)} does not give runs",
        "; a condition reads like params.dataset = 'digits' and metrics.trainable < 5000",
    )


def configuration_of(uri: str, found: RankedConfiguration) -> StudyConfig:
    """Return the full configuration of the study in which a configuration was found.

    Raises:
        TrackingError: the server does not have it, since it is sent only when a study ends.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        path: str = ask(
            ANSWERS_WITHIN,
            lambda: open_client(uri).download_artifacts(found.parent_id, "study.yaml", scratch),
            f"{redacted(uri)} does not have study.yaml of the study '{found.study}'",
            "; it is sent when the study ends",
        )
        return load_config(Path(path), frozen=True)


def restore_exact_settings(uri: str, found: RankedConfiguration) -> RankedConfiguration:
    """Return a configuration with the settings of its trial, which MLflow's parameters round.

    Raises:
        TrackingError: the server does not give the trial's ``config.json``.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        path: str = ask(
            ANSWERS_WITHIN,
            lambda: open_client(uri).download_artifacts(found.run_id, "config.json", scratch),
            f"{redacted(uri)} does not have config.json of '{found.label}' of '{found.study}'",
        )
        settings = TrialSettings.model_validate(json.loads(Path(path).read_bytes())["settings"])
    chosen = found.settings.model_dump(include={"head_lr", "head_steps"})
    return replace(found, settings=settings.with_reported_head(chosen))


def _search(
    client: MlflowClient, condition: str, top: int, storage: Path
) -> Iterator[RankedConfiguration]:
    """Yield the best configurations that meet a condition, each with its mean test score."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    # Equal scores are ordered as in `study.selection.candidates.finished_trials`.
    order = ["metrics.val_score DESC", "metrics.trainable ASC", "attributes.start_time ASC"]
    best = all_runs(client, experiments, condition, order)
    runs = list(islice((run for run in best if run.data.tags.get(ENDED) != "stopped"), top))
    folders = _folders(client, runs, storage)
    tested: dict[tuple[str, TrialSettings], list[float]] = defaultdict(list)
    for study_id in {run.data.tags["study_id"] for run in runs}:
        for run in all_runs(
            client, experiments, f"tags.stage = 'confirm' and tags.study_id = '{study_id}'"
        ):
            if (score := run.data.metrics.get("test_score")) is not None:
                tested[study_id, _settings(run)].append(score)
    for run in runs:
        params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
        scores = tested[tags["study_id"], _settings(run)]
        yield RankedConfiguration(
            study=tags["study"],
            label=tags["label"],
            dataset=params["dataset"],
            protocol=params["protocol"],
            backbone=params["backbone"],
            shots=int(params["shots"]),
            settings=_settings(run),
            trainable=int(metrics["trainable"]),
            val_score=metrics["val_score"],
            split_hash=tags["split_hash"],
            test_score=sum(scores) / len(scores) if scores else None,
            test_seeds=len(scores),
            run_id=run.info.run_id,
            parent_id=tags[MLFLOW_PARENT_RUN_ID],
            folder=folders[tags["study_id"]],
        )


def _folders(client: MlflowClient, runs: Sequence[Run], storage: Path) -> dict[str, str | None]:
    """Return the folder of the study of each run, by the study's identity, if it is there."""
    folders: dict[str, str | None] = {}
    for run in runs:
        tags = run.data.tags
        study_id = tags["study_id"]
        if study_id in folders:
            continue
        folders[study_id] = None
        params = client.get_run(tags[MLFLOW_PARENT_RUN_ID]).data.params
        for place in (storage, Path(params.get("storage", storage))):
            folder = StudyFolder(place / tags["study"])
            if _is_of(folder, study_id):
                folders[study_id] = str(folder.path)
    return folders


def _is_of(folder: StudyFolder, study_id: str) -> bool:
    """Return whether a folder holds the study of an identity; a copy of another may not."""
    with suppress(StudyError, OSError):
        return folder.exists() and folder.read_identity()["study_id"] == study_id
    return False


def _settings(run: Run) -> TrialSettings:
    """Return the settings of a trial's run, with the head that validation chose."""
    params, metrics = run.data.params, run.data.metrics
    own: dict[str, Any] = {
        name: _read(name, text)
        for name, text in params.items()
        if name in settings_columns() or name.startswith(PEER)
    }
    if f"{PEER}lr" in own:
        peer = {name.removeprefix(PEER): v for name, v in own.items() if name.startswith(PEER)}
        own |= {"subset": "none", "peer": {**peer, "method": params["subset"]}}
    return TrialSettings.from_column_values(own).with_reported_head(
        {k: _read(k, v) for k, v in metrics.items()}
    )


def _read(name: str, value: str | float) -> str | float:
    if name in ("subset", "head", f"{PEER}optimizer"):
        return value
    if name in ("head_steps", f"{PEER}rank"):
        return int(float(value))
    # Metrics have more digits than parameters.
    return float(rounded(float(value), PARAMETER_DIGITS))
