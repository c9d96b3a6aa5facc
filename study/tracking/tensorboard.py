"""TensorBoard as a tracker: a folder of event files a trial, in the study's own folder.

Epochs appear as they end. Of a trial that goes on, or is trained again, all epochs are written
anew, and TensorBoard passes over the earlier ones; so no point is there twice, and none is lost.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings
from study.errors import ConfigError, TrackingError
from study.storage.trial_folder import REPORTS, End, TrialFolder
from study.tracking.tracker import SyncResult, Tracker, describe_unsent, first_line
from study.trial import TrialConfig
from study.trial.study import Study

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NO_METRICS = ("epoch", "ended_at", "folds")
"""The fields of a report that are no metrics."""


class TensorBoardTracker(Tracker):
    """A tracker that writes what the ledger has of each trial as files of TensorBoard."""

    name = "tensorboard"
    title = "TensorBoard"
    packages = ("tensorboard",)

    def check(self, config: StudyConfig) -> None:
        """See `Tracker.check`; the optional extra has to be installed."""
        import_writer()

    def start(self, study: Study) -> None:
        """See `Tracker.start`; what an earlier driver did not write is written first."""
        import_writer()
        self._study = study
        self._place = study.folder.path / "tensorboard"
        self._writers: dict[str, SummaryWriter] = {}
        """The writers of the trials that run, by their ids."""
        self._unsent: dict[str, str] = {}
        """The trials whose last epochs could not be written, each with the reason."""
        self.rescan_trials()

    def trial_reported(self, config: TrialConfig, epoch: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker.trial_reported`."""
        with self._noting_failure(config.trial_id):
            writer = self._writers.get(config.trial_id)
            if writer is None:
                writer = self._begin(self._study.folder.trial(config.trial_id), before=epoch)
            _write(writer, epoch, metrics)
            writer.flush()

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """See `Tracker.trial_ended`; a trial may end without a report before."""
        with self._noting_failure(config.trial_id):
            self._finish(self._study.folder.trial(config.trial_id), end)

    def rescan_trials(self) -> None:
        """See `Tracker.rescan_trials`."""
        trials = {trial.trial_id: trial for trial in self._study.folder.trials()}
        for path in self._place.glob("*"):
            if path.name not in trials:  # it was renamed
                shutil.rmtree(path, ignore_errors=True)
        for trial_id, trial in trials.items():
            with self._noting_failure(trial_id):
                if trial_id not in self._writers and self._is_behind(trial):
                    self._finish(trial, trial.read_end())

    def close(self, *, finished: bool) -> Mapping[str, str]:
        """See `Tracker.close`."""
        for trial_id, writer in list(self._writers.items()):
            with self._noting_failure(trial_id):
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

    def describe_contents(self, study: Study) -> str:
        """See `Tracker.describe_contents`."""
        return "TensorBoard's files are in the study's folder"

    def delete(self, study: Study) -> Sequence[str]:
        """See `Tracker.delete`; they go with the study's folder."""
        return ()

    def viewing_hints(self) -> Sequence[tuple[str, str]]:
        """See `Tracker.viewing_hints`."""
        return [("charts", f"tensorboard --logdir {self._place}")]

    def _begin(self, trial: TrialFolder, before: int | None = None) -> "SummaryWriter":
        """Open a trial's writer, and write its settings and its epochs before one, or all."""
        from torch.utils.tensorboard.summary import hparams

        folder = self._place / trial.trial_id
        writer = import_writer()(str(folder), purge_step=0)
        self._writers[trial.trial_id] = writer
        settings = TrialSettings.model_validate(trial.read_config()["settings"]).column_values()
        shown = {name: value for name, value in settings.items() if value is not None}
        for summary in hparams(shown, dict.fromkeys(("val_score", "test_score"), 0.0)):
            writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]  # made above
        for report in trial.read_reports():
            if before is None or report["epoch"] < before:
                _write(writer, report["epoch"], report)
        return writer

    def _finish(self, trial: TrialFolder, end: End | None) -> None:
        """Write how a trial ended, if it has, and close its writer."""
        writer = self._writers.get(trial.trial_id) or self._begin(trial)
        if end is not None:
            writer.add_text("end", f"{end.status}: {end.reason}" if end.reason else end.status)
        writer.close()
        del self._writers[trial.trial_id]

    def _is_behind(self, trial: TrialFolder) -> bool:
        """Return whether a trial reported, ended or was renamed after its events were written."""
        events = (self._place / trial.trial_id).glob("*")
        files = [trial.path / name for name in ("config.json", REPORTS, "end.json")]
        changed = max(path.stat().st_mtime for path in files if path.exists())
        return max((path.stat().st_mtime for path in events), default=0.0) < changed

    @contextmanager
    def _noting_failure(self, trial_id: str) -> Iterator[None]:
        """Note a failure of the block as the reason why TensorBoard lacks a trial.

        The trial's next event begins its files again.
        """
        try:
            yield
        except Exception as error:  # of a disk or of TensorBoard, which end no study
            self._writers.pop(trial_id, None)
            self._unsent[trial_id] = first_line(error)
        else:
            self._unsent.pop(trial_id, None)


def _write(writer: "SummaryWriter", epoch: int, metrics: Mapping[str, float]) -> None:
    """Write the metrics of an epoch at the time of its report, or now."""
    for name, value in metrics.items():
        if name not in NO_METRICS:
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
