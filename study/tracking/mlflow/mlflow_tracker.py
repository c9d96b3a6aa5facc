"""MLflow as a tracker.

MLflow takes seconds to import, so modules that import it are imported late: neither ``--help`` nor
the check of a store that does not exist yet needs it.
"""

import logging
from contextlib import suppress

from study.config.schema import StudyConfig
from study.errors import StudyError
from study.storage.command_lines import study_command
from study.storage.time_limit import call_within
from study.tracking.mlflow.address import is_absent_store, tracking_uri
from study.tracking.tracker import Tracker, TrackerMessages, describe_unsent
from study.trial.study import Study

logger = logging.getLogger(__name__)

MONITOR_SECONDS = 30.0
"""How long the end of a study waits for the last of MLflow's system metrics."""


class MlflowTracker(Tracker):
    """A tracker that sends a study to MLflow in the background, one run a trial."""

    title = "MLflow"

    def check(self, config: StudyConfig) -> None:
        """See `Tracker.check`; a SQLite store that does not exist yet is not created."""
        uri = tracking_uri(config.tracking.uri)
        if not is_absent_store(uri):
            from study.tracking.mlflow.server import connect

            connect(uri, config.tracking.experiment)

    def start(self, study: Study) -> None:
        """See `Tracker.start`; what an earlier driver left unsent is sent first."""
        from study.tracking.mlflow import sync

        self._sync = sync.StudySync(study, tracking_uri(study.config.tracking.uri))
        self._thread = sync.SyncThread(self._sync)
        self._monitor = None
        if study.config.tracking.system_metrics:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            run = self._sync.run
            self._monitor = SystemMetricsMonitor(
                run.run_id, resume_logging=True, tracking_uri=run.uri
            )
            self._monitor.start()

    def trial_changed(self, trial_id: str) -> None:
        """See `Tracker.trial_changed`."""
        self._thread.add(trial_id)

    def register(self) -> None:
        """Register the best configuration; a study is complete without it, so a fault is logged."""
        from study.tracking.mlflow.registry import register_best

        try:
            register_best(self._sync.run)
        except StudyError as error:
            command = study_command("sync", self._sync.run.study.folder.path)
            message = "the final model is not in the model registry: %s; to register it, run\n  %s"
            logger.warning(message, error, command)

    def close(self, *, finished: bool) -> TrackerMessages:
        """Send the rest and end the runs; return what MLflow lacks, and the links to its pages."""
        from study.tracking.mlflow.mlflow_internals import viewing_hints

        if self._monitor:
            with suppress(TimeoutError):
                call_within(MONITOR_SECONDS, self._monitor.finish)
        missing = self._thread.close(finished=finished)
        run = self._sync.run
        view = "trials" if run.study.protocol.searches(run.study.config) else "tested"
        hints = viewing_hints(run.uri, run.experiment_id, run.run_id, view)
        return TrackerMessages(describe_unsent(missing) if missing else "", hints)
