"""Takes over trials that were done before: equal by configuration hash, found in MLflow."""

from __future__ import annotations

import json
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from study.errors import TrackingError
from study.method.delta import load_delta
from study.storage.atomic import sync_folder
from study.storage.ledger import End, StudyFolder, TrialFolder
from study.tracking.mlflow.server import first_line, within
from study.trial import TrialConfig

logger = logging.getLogger(__name__)

PAGE = 1000
"""Runs a call."""
TAKES_WITHIN = 300.0
"""Seconds; what has not been fetched by then is trained."""


def take_over(client: MlflowClient, folder: StudyFolder, wanted: Sequence[TrialConfig]) -> set[str]:
    """Fill the folders of those trials that an earlier one equals; give their ids.

    Whatever cannot be found, fetched or trusted is left to be trained.

    Args:
        client: of the server that holds earlier runs.
        folder: of the study that wants the trials.
        wanted: trials that have not begun.
    """
    deadline = time.monotonic() + TAKES_WITHIN
    hashes = {trial.split_hash for trial in wanted if trial.config_hash}
    try:
        known = within(TAKES_WITHIN, lambda: _done(client, hashes))
    except Exception as error:  # of MLflow, a database, its driver or the network
        logger.warning("MLflow was not asked for trials done before: %s", first_line(error))
        return set()
    taken = set()
    for trial in wanted:
        run = known.get(trial.config_hash)
        if run is None:
            continue
        left = deadline - time.monotonic()
        if left <= 0:
            logger.warning("MLflow gives trials done before too slowly; the rest is trained")
            break
        try:
            _fetch(client, run, folder.trial(trial.trial_id), trial, left)
        except Exception as error:  # of MLflow, an artifact store, or of what it gave
            logger.warning(
                "%s equals run %s, but is trained again: %s",
                trial.trial_id,
                run.info.run_id,
                first_line(error),
            )
        else:
            taken.add(trial.trial_id)
    return taken


def _done(client: MlflowClient, split_hashes: Iterable[str]) -> dict[str, Run]:
    """Collect finished runs on the same images by configuration hash, the oldest of equals."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found: dict[str, Run] = {}
    for split_hash in sorted(split_hashes):
        condition = f"tags.split_hash = '{split_hash}' and attributes.status = 'FINISHED'"
        token: str | None = None
        while True:
            page = client.search_runs(
                experiments,
                filter_string=condition,
                max_results=PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in page:
                tags = run.data.tags
                if tags.get("config_hash") and "taken_from" not in tags:
                    found.setdefault(tags["config_hash"], run)
            if not (token := page.token):
                break
    return found


def _fetch(
    client: MlflowClient, run: Run, folder: TrialFolder, trial: TrialConfig, seconds: float
) -> None:
    """Bring a run's files into a trial's folder, all of them or none, and close it.

    Raises:
        TrackingError: the run is not what its hash says, or does not come in time.
    """
    run_id = run.info.run_id
    # A trial with a part of these would be trained, and still say that it had been taken over: so
    # it is made beside the others, and moved among them when it is whole.
    study = folder.path.parent.parent
    with tempfile.TemporaryDirectory(
        dir=study, prefix=".taking-", ignore_cleanup_errors=True
    ) as scratch:
        run_files = Path(scratch) / "run"
        run_files.mkdir()
        place = Path(within(seconds, lambda: client.download_artifacts(run_id, "", str(run_files))))
        source = TrialFolder(place)
        reports = source.reports
        _refuse_other(source.config, reports, trial)
        deltas = sorted(place.glob("delta*.safetensors"))
        for delta in deltas:
            load_delta(delta)
        if bool(deltas) != bool(trial.trainable):
            raise TrackingError(f"it has {len(deltas)} deltas")
        taken = TrialFolder(Path(scratch) / folder.trial_id)
        taken.create({**trial.model_dump(mode="json"), "taken_from": run_id})
        for path in (*deltas, place / "per_class.json", place / "confusion.json"):
            if path.exists():
                shutil.copyfile(path, taken.path / path.name)
        taken.replace_reports(reports)
        seconds = sum(report["seconds"] for report in reports)
        taken.write_end(End("finished", trial.epochs, seconds, f"done before by run {run_id}"))
        taken.path.rename(folder.path)
        sync_folder(folder.path.parent)


def _refuse_other(
    config: dict[str, Any], reports: Sequence[dict[str, Any]], trial: TrialConfig
) -> None:
    if config.get("config_hash") != trial.config_hash:
        raise TrackingError("its config.json has another hash than its tag")
    epochs = [report.get("epoch") for report in reports]
    if epochs != (list(range(1, trial.epochs + 1)) or [0]):
        raise TrackingError(f"its reports are of the epochs {json.dumps(epochs)[:80]}")
    values = [value for report in reports for value in report.values()]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise TrackingError("its reports hold something else than finite numbers")
    if not {"val_score", "test_score"} & reports[-1].keys():
        raise TrackingError("its last report has no score")
