"""Which trials Tune stops early: by successive halving, by the time of a search, or as before."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from study.config.search_section import AshaConfig
from study.search.deadline import Deadline, Result
from study.storage.ledger_files import JsonObject
from study.storage.trial_folder import End
from study.trial.study import TrialConfig


def make_scheduler(
    asha: AshaConfig | None,
    epochs: int,
    history: Sequence[tuple[TrialConfig, Sequence[JsonObject]]] = (),
    deadline: Deadline | None = None,
) -> TrialScheduler:
    """Return a scheduler that stops trials by ASHA on epochs, and by the time of the search.

    Args:
        asha: the settings of successive halving; None means that it stops no trial.
        epochs: the number of epochs of a full trial.
        history: the trials that ended before the study was resumed, each with its reports; the
            scheduler takes their scores into account.
        deadline: the end of the time of the search, if it has one.
    """
    make: Callable[[], TrialScheduler] = FIFOScheduler
    if asha:
        make = partial(
            ASHAScheduler,
            **dict(asha),
            time_attr="epoch",
            metric="score",
            mode="max",
            max_t=epochs,
            stop_last_trials=False,
        )
    scheduler = _GroupScheduler(make)
    for config, reports in history:
        # The part of a Tune trial that the scheduler reads.
        ended = SimpleNamespace(trial_id=config.trial_id, config=config.model_dump(mode="json"))
        scheduler.on_trial_add(None, ended)
        for report in reports:
            result = {"epoch": report["epoch"], "score": report.get("val_score")}
            scheduler.on_trial_result(None, ended, result)
    scheduler.deadline = deadline  # only now, since it stops no trial that has ended
    return scheduler


class RepeatingScheduler(FIFOScheduler):
    """A scheduler that stops trials where they had been stopped before, and no other trial.

    Args:
        before: how trials had ended before they were reopened, by id.
    """

    def __init__(self, before: Mapping[str, End]) -> None:
        super().__init__()
        self._before = before

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Result) -> str:
        """Return whether the trial goes on after a result."""
        before = self._before.get(trial.config["trial_id"])
        if before and result["epoch"] >= before.epochs:
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE


class _GroupScheduler(FIFOScheduler):
    """Successive halving among the trials of one part of a search; it never stops a baseline.

    Args:
        make: a function that returns the scheduler of one part.
    """

    def __init__(self, make: Callable[[], TrialScheduler]) -> None:
        super().__init__()
        self.deadline: Deadline | None = None
        """The end of the time, after which trials are stopped as well."""
        self._schedulers: dict[str, TrialScheduler] = defaultdict(make)
        """The scheduler of each arm."""

    def _scheduler_of(self, trial: Any) -> TrialScheduler:
        return self._schedulers[trial.config["arm"]]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Let the trial compete with those like it."""
        self._scheduler_of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Result) -> str:
        """Return whether the trial continues or stops after a result."""
        decision = TrialScheduler.CONTINUE
        if result["score"] is not None:
            decision = self._scheduler_of(trial).on_trial_result(tune_controller, trial, result)
        if trial.config["arm"] == "baseline":
            return TrialScheduler.CONTINUE
        if self.deadline and decision == TrialScheduler.CONTINUE:
            epochs_left = result["epochs"] - result["epoch"]
            if self.deadline.must_stop(trial.trial_id, epochs_left, result["time_this_iter_s"]):
                return TrialScheduler.STOP
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Result) -> None:
        """Count a trial's last score."""
        if result["score"] is not None:
            self._scheduler_of(trial).on_trial_complete(tune_controller, trial, result)
