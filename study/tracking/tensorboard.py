"""TensorBoard as a tracker: one folder of event files for each trial, in the study's folder.

Epochs appear as they end. If a trial continues or is trained again, all its epochs are written
again, and TensorBoard skips the earlier ones. So no point appears twice, and none is lost.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings
from study.errors import ConfigError, TrackingError
from study.storage.trial_folder import REPORTS, End, TrialFolder
from study.tracking.tracker import Reasons, SyncResult, Tracker, describe_unsent, summarize_error
from study.trial.study import Study, TrialConfig

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NON_METRIC_FIELDS = ("epoch", "ended_at", "folds", "head", "scores")
"""The fields of a report that are not metrics."""


class TensorBoardTracker(Tracker):
    """A tracker that writes each trial of the ledger as TensorBoard's event files."""

    name = "tensorboard"
    title = "TensorBoard"
    packages = ("tensorboard",)

    def check(self, config: StudyConfig) -> None:
        """See `Tracker.check`; the optional extra must be installed."""
        import_writer()

    def start(self, study: Study) -> None:
        """See `Tracker.start`; what an earlier driver did not write is written first."""
        import_writer()
        self._study = study
        self._events_folder = study.folder.path / "tensorboard"
        self._writers: dict[str, SummaryWriter] = {}
        """The writers of the running trials, by trial id."""
        self._unsent: Reasons = {}
        """The reasons why the last epochs of trials could not be written, by trial id."""
        self.rescan_trials()

    def trial_reported(self, config: TrialConfig, epoch: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker.trial_reported`."""
        with self._record_failure(config.trial_id):
            writer = self._writers.get(config.trial_id)
            if writer is None:
                writer = self._begin(self._study.folder.trial(config.trial_id), before=epoch)
            _write(writer, epoch, metrics)
            writer.flush()

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """See `Tracker.trial_ended`; a trial may end without a report before."""
        with self._record_failure(config.trial_id):
            self._finish(self._study.folder.trial(config.trial_id), end)

    def rescan_trials(self) -> None:
        """See `Tracker.rescan_trials`."""
        for trial in self._study.folder.trials():
            with self._record_failure(trial.trial_id):
                if trial.trial_id not in self._writers and self._is_behind(trial):
                    self._finish(trial, trial.read_end())

    def close(self, *, finished: bool) -> Reasons:
        """See `Tracker.close`."""
        for trial_id, writer in list(self._writers.items()):
            with self._record_failure(trial_id):
                writer.close()
        return self._unsent

    def sync(self, study: Study, write_outputs: Callable[[], object]) -> SyncResult:
        """See `Tracker.sync`."""
        self.start(study)
        if self._unsent:
            raise TrackingError(
                f"of study '{study.folder.name}', TensorBoard lacks "
                f"{describe_unsent(self._unsent, len(self._unsent))}"
            )
        return SyncResult(len(list(study.folder.trials())), 0)

    def viewing_hints(self) -> Sequence[tuple[str, str]]:
        """See `Tracker.viewing_hints`."""
        return [("charts", f"tensorboard --logdir {self._events_folder}")]

    def _begin(self, trial: TrialFolder, before: int | None = None) -> "SummaryWriter":
        """Open a trial's writer, and write the trial's settings and epochs.

        Args:
            trial: the trial's folder.
            before: the first epoch that is not written; None means that all are.
        """
        from torch.utils.tensorboard.summary import hparams

        folder = self._events_folder / trial.trial_id
        writer = import_writer()(str(folder), purge_step=0)
        self._writers[trial.trial_id] = writer
        settings = TrialSettings.model_validate(trial.read_config()["settings"]).column_values()
        hyperparameters = {name: value for name, value in settings.items() if value is not None}
        metrics = {"val_score": 0.0, "test_score": 0.0}
        for summary in hparams(hyperparameters, metrics):
            writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]  # made above
        for report in trial.read_reports():
            if before is None or report["epoch"] < before:
                _write(writer, report["epoch"], report)
        return writer

    def _finish(self, trial: TrialFolder, end: End | None) -> None:
        """Write how a trial ended, if it has ended, and close its writer."""
        writer = self._writers.get(trial.trial_id) or self._begin(trial)
        if end:
            text = f"{end.status}: {end.reason}" if end.reason else end.status
            writer.add_text("end", text)
        writer.close()
        del self._writers[trial.trial_id]

    def _is_behind(self, trial: TrialFolder) -> bool:
        """Return whether a trial reported or ended after its events were written."""
        ledger_files = [trial.path / name for name in ("config.json", REPORTS, "end.json")]
        changed = max(path.stat().st_mtime for path in ledger_files if path.exists())
        event_files = (self._events_folder / trial.trial_id).glob("*")
        written = max((path.stat().st_mtime for path in event_files), default=0.0)
        # A time in the future is that of a clock which has jumped back since.
        return written < changed or written > time.time()

    @contextmanager
    def _record_failure(self, trial_id: str) -> Iterator[None]:
        """Record an error of the block as the reason why TensorBoard lacks a trial.

        The next call for this trial writes its files from the start.
        """
        try:
            yield
        except Exception as error:  # of a disk or of TensorBoard, which must not end the study
            self._writers.pop(trial_id, None)
            self._unsent[trial_id] = summarize_error(error)
        else:
            self._unsent.pop(trial_id, None)


def _write(writer: "SummaryWriter", epoch: int, metrics: Mapping[str, float]) -> None:
    """Write an epoch's metrics with the time of its report, or the present time without one."""
    for name, value in metrics.items():
        if name not in NON_METRIC_FIELDS:
            writer.add_scalar(name, value, epoch, walltime=metrics.get("ended_at"))


def import_writer() -> type["SummaryWriter"]:
    """Return the class of TensorBoard's writers.

    Raises:
        ConfigError: the optional extra is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "the tracker 'tensorboard' needs the optional extra: pip install "
            f"'clipfit-study[tensorboard]' ({error})"
        ) from error
    return SummaryWriter
