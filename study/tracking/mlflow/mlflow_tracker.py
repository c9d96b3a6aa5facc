"""MLflow as a tracker.

MLflow takes seconds to import, so modules that import it are imported late: neither ``--help`` nor
the check of a store that does not exist yet needs it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.config.schema import StudyConfig
from study.errors import TrackingError
from study.tracking.mlflow.address import (
    SERVERS,
    is_absent_store,
    refuse_unusable,
    tracking_uri,
)
from study.tracking.tracker import RankedConfiguration, Reasons, SyncResult, Tracker
from study.trial.study import Study, TrialConfig

if TYPE_CHECKING:
    from study.serving.saved_model import SavedModel


class MlflowTracker(Tracker):
    """A tracker that sends a study to MLflow in the background, one run a trial."""

    name = "mlflow"
    title = "MLflow"
    packages = ("mlflow",)

    def check(self, config: StudyConfig) -> None:
        """See `Tracker.check`; a SQLite store that does not exist yet is not created."""
        uri = tracking_uri(config.tracking.uri)
        refuse_unusable(uri)
        if not is_absent_store(uri):
            from study.tracking.mlflow.server import ANSWERS_WITHIN, BEGINS_WITHIN, connect

            is_server = uri.partition("://")[0] in SERVERS
            seconds = BEGINS_WITHIN if is_server else ANSWERS_WITHIN
            connect(uri, config.tracking.experiment, seconds)

    def start(self, study: Study) -> None:
        """See `Tracker.start`; what an earlier driver left unsent is sent first."""
        from study.tracking.mlflow import mirror, sender

        self._sender = sender.Sender(study, tracking_uri(study.config.tracking.uri))
        self._mirror = mirror.Mirror(self._sender)

    def trial_ended(self, config: TrialConfig, *_: Any, **__: Any) -> None:
        """Send a trial that has changed, whatever it is that has."""
        self._mirror.send(config.trial_id)

    trial_started = trial_reported = trial_ended

    def rescan_trials(self) -> None:
        """See `Tracker.rescan_trials`."""
        self._mirror.send()

    def register(self) -> None:
        """Send the rest, then add the winner to the model registry."""
        from study.tracking.mlflow.registry import register_or_warn

        register_or_warn(self._sender.study_run, self._mirror.drain())

    def download_model(self, address: str, folder: Path) -> "SavedModel":
        """See `study.tracking.mlflow.models`; the server is ``$MLFLOW_TRACKING_URI``."""
        uri = tracking_uri(None)
        if is_absent_store(uri):
            raise TrackingError(
                f"{address} is not found, as there is no {uri} here; set MLFLOW_TRACKING_URI to "
                "the address of the server or store that has it"
            )
        from study.tracking.mlflow.models import download_registered_model

        return download_registered_model(uri, address, folder)

    def close(self, *, finished: bool) -> Reasons:
        """Send the rest and close the parent run; return what MLflow lacks, and why."""
        from study.tracking.mlflow.mirror import close_study

        unsent = self._mirror.drain() or close_study(self._sender, finished=finished)
        return self._mirror.refused | unsent

    def sync(self, study: Study, write_outputs: Callable[[], object]) -> SyncResult:
        """See `study.tracking.mlflow.mirror.sync_to_mlflow`."""
        from study.tracking.mlflow.mirror import sync_to_mlflow

        return sync_to_mlflow(study, tracking_uri(study.config.tracking.uri), write_outputs)

    def best_configurations(self, **query: Any) -> list[RankedConfiguration]:
        """See `study.tracking.mlflow.best_runs`; the server is ``$MLFLOW_TRACKING_URI``."""
        from study.tracking.mlflow.best_runs import best_configurations

        return best_configurations(tracking_uri(None), **query)

    def read_exact(
        self, configurations: Sequence[RankedConfiguration]
    ) -> tuple[list[RankedConfiguration], StudyConfig]:
        """See `study.tracking.mlflow.best_runs`; the server is ``$MLFLOW_TRACKING_URI``."""
        from study.tracking.mlflow.best_runs import read_exact

        return read_exact(tracking_uri(None), configurations)

    def advice(self) -> str:
        """See `Tracker.advice`."""
        return (
            "MLflow may have copies: study.yaml and identity.json are artifacts of the study's own "
            "run, which has study_id as a tag; config.json is one of the run of a trial that has "
            "ended"
        )

    def viewing_hints(self) -> Sequence[tuple[str, str]]:
        """See `study.tracking.mlflow.server.viewing_hints`."""
        from study.tracking.mlflow.server import viewing_hints

        run = self._sender.study_run
        study = self._sender.study
        view = "trials" if study.protocol.searches(study.config) else "tested"
        return viewing_hints(run.uri, run.experiment_id, run.run_id, view)
