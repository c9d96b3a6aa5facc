"""The finished trials of a search, ranked by validation."""

from dataclasses import dataclass, field

from study.config.trial_settings import TrialSettings
from study.storage.ledger_files import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.study import Stage, TrialConfig


@dataclass(frozen=True)
class Judged:
    """A trial that completed all its epochs."""

    config: TrialConfig
    val_score: float
    """The validation score after the last, a fraction, by which trials are ranked."""
    report: JsonObject = field(default_factory=dict)
    """The last report."""

    @property
    def sort_key(self) -> tuple[float, int, int]:
        """The key by which the best is first: of equal scores fewer values, then the earlier."""
        return -self.val_score, self.config.trainable, self.config.number

    @property
    def settings(self) -> TrialSettings:
        """The settings to test: those of the trial, with the head that validation chose for it."""
        return self.config.settings.with_reported_head(self.report)


def rank_finished_trials(folder: StudyFolder, stage: Stage = "search") -> list[Judged]:
    """Return the trials of a stage that completed all their epochs, best first."""
    judged = []
    for trial, config in folder.trials_of(stage):
        if not trial.has_finished():
            continue
        for report in trial.read_reports()[-1:]:
            judged.append(Judged(TrialConfig.model_validate(config), report["val_score"], report))
    return sorted(judged, key=lambda trial: trial.sort_key)
