"""Reuse of finished trials with the same configuration hash that MLflow already holds."""

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
"""How many runs one call fetches."""
TAKES_WITHIN = 300.0
"""How many seconds reuse may take; trials not fetched by then are trained."""


def take_over(client: MlflowClient, folder: StudyFolder, wanted: Sequence[TrialConfig]) -> set[str]:
    """Fill the folders of trials that were already done elsewhere; return their ids.

    Trials that cannot be found, fetched or trusted are left to be trained.

    Args:
        client: a client of the server with the earlier runs.
        folder: the folder of the study that wants the trials.
        wanted: the trials, none of which has started.
    """
    deadline = time.monotonic() + TAKES_WITHIN
    hashes = {trial.split_hash for trial in wanted if trial.config_hash}
    try:
        known = within(TAKES_WITHIN, lambda: _done(client, hashes))
    except Exception as error:  # from MLflow, a database, its driver or the network
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
        except Exception as error:  # from MLflow, an artifact store or the files it returned
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
    """Return finished runs on the same splits by configuration hash, the oldest of each hash."""
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
    """Copy a run's files to a new trial folder, all or none, and write the trial's end.

    Raises:
        TrackingError: the run is not the trial that its hash promises, or the download is too slow.
    """
    run_id = run.info.run_id
    # A trial with only some of these files would be trained, yet still carry `taken_from`. So it is
    # made in a folder of its own and moved to the other trials when it is complete.
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
