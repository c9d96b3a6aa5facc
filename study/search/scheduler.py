"""Which trials Tune stops early: by successive halving, by the time of a search, or as before."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from study.config.labels import BASELINE
from study.config.search_section import AshaConfig
from study.search.recorded_trials import RecordedTrial
from study.storage.trial_folder import End
from study.trial.study import TrialConfig

Result = dict[str, Any]
"""What a trial reports to Tune after an epoch."""
HALVED = "successive halving at epoch"
"""Why a trial is stopped by successive halving, before the number of its last epoch."""


class StudyScheduler:
    """Successive halving within each group of a search; baselines run to their last epoch.

    The score at a rung is that of the better head. A trial that had ended and was reopened ends
    where it had, and its scores count.

    Args:
        asha: the settings of successive halving; None means that it stops no trial.
        epochs: the number of epochs of a full trial.
        before: how trials had ended before they were reopened, by id.
        deadline: when the time of the search is over, by `time.monotonic`; each trial then ends
            with its epoch. None means no limit.
    """

    def __init__(
        self,
        asha: AshaConfig | None = None,
        epochs: int = 1,
        before: Mapping[str, End] | None = None,
        deadline: float | None = None,
    ) -> None:
        self.reasons: dict[str, str] = {}
        """Why trials are stopped, by id."""
        self._asha = asha
        self._epochs = epochs
        self._before = before or {}
        self._deadline = deadline
        self._halvings: dict[str, TrialScheduler] = defaultdict(self._make_halving)
        """The scheduler of each group."""

    def replay(self, recorded: Iterable[RecordedTrial]) -> list[RecordedTrial]:
        """Take all recorded scores into account, in the order in which they were reported.

        Returns:
            The unfinished trials that are to stop after their last report: their driver died before
            it had decided.
        """
        events = [
            (report.get("ended_at", 0.0), trial.config.trial_id, trial, report)
            for trial in recorded
            for report in trial.reports
            if "val_score" in report
        ]
        stopped = {}
        for _, trial_id, trial, report in sorted(events, key=lambda event: event[:2]):
            stops = self._halves(trial.config, report["epoch"], report["val_score"])
            is_open = not (trial.end or trial.earlier_end or trial.config.group == BASELINE)
            if stops and is_open and report is trial.reports[-1]:
                self.reasons[trial_id] = f"{HALVED} {report['epoch']}"
                stopped[trial_id] = trial
        return list(stopped.values())

    def stops(self, trial: TrialConfig, result: Result) -> bool:
        """Return whether a trial stops after a result, which then is in `reasons`."""
        epoch = result["epoch"]
        before = self._before.get(trial.trial_id)
        reason = None
        if result["score"] is not None and self._halves(trial, epoch, result["score"]):
            reason = f"{HALVED} {epoch}"
        elif self._deadline is not None and time.monotonic() >= self._deadline:
            reason = f"time limit of the search at epoch {epoch}"
        if before:
            reason = before.reason if epoch >= before.epochs else None
        elif trial.group == BASELINE:
            reason = None
        if reason is not None:
            self.reasons[trial.trial_id] = reason
        return reason is not None

    def _halves(self, trial: TrialConfig, epoch: int, score: float) -> bool:
        """Count a score at its rung, and return whether successive halving stops the trial."""
        halving = self._halvings[trial.group]
        # Of a trial Tune's scheduler reads an id; this one is the same after an interruption.
        halving.on_trial_add(None, trial)
        decision = halving.on_trial_result(None, trial, {"epoch": epoch, "score": score})
        return bool(decision == TrialScheduler.STOP)

    def _make_halving(self) -> TrialScheduler:
        if not self._asha:
            return FIFOScheduler()
        return ASHAScheduler(
            **dict(self._asha),
            time_attr="epoch",
            metric="score",
            mode="max",
            max_t=self._epochs,
            stop_last_trials=False,
        )
