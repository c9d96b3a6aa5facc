"""Which trials Tune stops early: by successive halving, by the time of a search, or as before."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from study.config.labels import BASELINE
from study.config.search_section import AshaConfig
from study.search.recorded_trials import RecordedTrial
from study.storage.trial_folder import End

Result = dict[str, Any]
"""What a trial reports to Tune after an epoch."""


@dataclass
class Deadline:
    """The end of the time of a search: no trial begins after it, and each ends with its epoch.

    Args:
        seconds: how long the search may still take.
    """

    seconds: float
    stopped_ids: set[str] = field(default_factory=set)
    """Tune's ids of the trials that were stopped because the time was over."""
    _began: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self._began >= self.seconds


class StudyScheduler(FIFOScheduler):
    """Successive halving within each group of a search; baselines run to their last epoch.

    The score at a rung is that of the better head. A trial that had ended and was reopened ends
    where it had, and its scores count.

    Args:
        asha: the settings of successive halving; None means that it stops no trial.
        epochs: the number of epochs of a full trial.
        before: how trials had ended before they were reopened, by id.
        deadline: the end of the time of the search, if it has one.
    """

    def __init__(
        self,
        asha: AshaConfig | None = None,
        epochs: int = 1,
        before: Mapping[str, End] | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        super().__init__()
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
            config = {"trial_id": trial_id, "group": trial.config.group}
            result = {"epoch": report["epoch"], "score": report["val_score"]}
            stops = self._halve(config, result) == TrialScheduler.STOP
            is_open = not (trial.end or trial.earlier_end or _is_baseline(config))
            if stops and is_open and report is trial.reports[-1]:
                stopped[trial_id] = trial
        return list(stopped.values())

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Result) -> str:
        """Return whether the trial continues or stops after a result."""
        decision = TrialScheduler.CONTINUE
        if result["score"] is not None:
            decision = self._halve(trial.config, result)
        before = self._before.get(trial.config["trial_id"])
        if before:
            is_over = result["epoch"] >= before.epochs
            return TrialScheduler.STOP if is_over else TrialScheduler.CONTINUE
        if _is_baseline(trial.config):
            return TrialScheduler.CONTINUE
        if self._deadline and decision == TrialScheduler.CONTINUE and self._deadline.is_over:
            self._deadline.stopped_ids.add(trial.trial_id)
            return TrialScheduler.STOP
        return decision

    def _halve(self, config: Mapping[str, Any], result: Result) -> str:
        """Count a score at its rung, and return what successive halving decides."""
        halving = self._halvings[config["group"]]
        # The part of a Tune trial that is read, by an id that is the same after an interruption.
        trial = SimpleNamespace(trial_id=config["trial_id"])
        halving.on_trial_add(None, trial)
        decision: str = halving.on_trial_result(None, trial, result)
        return decision

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


def _is_baseline(config: Mapping[str, Any]) -> bool:
    return bool(config["group"] == BASELINE)
