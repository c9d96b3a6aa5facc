"""An arm: one Optuna study that proposes configurations and learns from their scores.

Its journal's lines are written whole, and damage costs no trial. Only the study's driver may open
it for writing; the study's lock ensures that there is one driver.
"""

import json
import logging
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import JournalStorage, journal
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from study.config.trial_settings import TrialSettings
from study.errors import StudyError
from study.search.ray_internals import reopen_trial
from study.search.samplers import Sampler, seed_from_text
from study.search.space import Space
from study.storage.atomic import StorageError, append_lines, drop_cut_line, with_retries
from study.trial.study import TrialConfig

logger = logging.getLogger(__name__)

NAME = "trial"
"""The user attribute with the id of a trial, which the report and MLflow have.

Optuna's own numbers cannot be those of trials: each arm counts from 0, and its proposals that were
tried before have numbers as well."""
ASKS_BEFORE_GIVING_UP = 50
"""The number of known proposals in a row after which a space counts as exhausted."""


class Outcome(NamedTuple):
    """The end of a trial in the form that an arm records."""

    score: float | None
    """The score of the last epoch, as a fraction; None means there is none."""
    state: TrialState
    """COMPLETE after all epochs; PRUNED if the trial was stopped early or its configuration is
    unfit; FAIL if the machine failed."""
    epoch: int | None = None
    """The epoch in which the trial ended; None means it is not known."""


class Recorded(NamedTuple):
    """The ledger's record of a trial that an arm proposed."""

    trial_id: str
    settings: TrialSettings
    scores: Mapping[int, float]
    """The scores by epoch, as fractions."""
    outcome: Outcome | None = None
    """How the trial ended; None while it has not."""


@dataclass
class Arm:
    """One search with its own Optuna study and budget of trials."""

    name: str
    study: optuna.Study
    budget: int
    """The most trials that the arm may propose."""
    space: Space
    sampler: Sampler
    seed: int
    started: int = 0
    """The number of trials that were proposed and recorded."""
    is_quick: bool = False
    """Whether its first trial precedes those of the queue that train encoders."""
    _open: dict[str, optuna.Trial] = field(default_factory=dict)
    """The trials that are under way, by their ids in the ledger."""

    @property
    def progress(self) -> float:
        """How far the arm is, between 0 and 1; the smallest proposes next."""
        return self.started / self.budget

    @property
    def begins_first(self) -> bool:
        """Whether the arm is quick and has not begun."""
        return self.is_quick and self.budget > self.started == 0

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials of the arm's Optuna study, which are not copied."""
        return self.study.get_trials(deepcopy=False)

    def ask(
        self, outcome_of: Callable[[TrialSettings], Outcome | None]
    ) -> tuple[optuna.Trial, TrialSettings] | None:
        """Return a new proposal with Optuna's trial of it; None if the space is exhausted.

        Args:
            outcome_of: a function that returns the outcome of a proposal that was tried before,
                else None. Such a proposal is closed in Optuna, with its score if it completed, and
                Optuna is asked for another one.
        """
        for attempt in range(ASKS_BEFORE_GIVING_UP):
            # The turn counts recorded trials: a driver may die between asking and recording.
            seed = seed_from_text(f"{self.seed}/{self.name}/{self.started}/{attempt}")
            self.study.sampler = self.sampler(seed)
            trial = self.study.ask()
            settings = self.space.suggest(trial)
            outcome = outcome_of(settings)
            if not outcome:
                self.started += 1
                return trial, settings
            if outcome.state is TrialState.COMPLETE:
                self.study.tell(trial, outcome.score)
            else:
                self.study.tell(trial, state=TrialState.FAIL)
        logger.warning(
            "%s: every further proposal was tried before; this part of the search ends", self.name
        )
        return None

    def name_trial(self, trial: optuna.Trial, trial_id: str) -> None:
        """Record the id of the trial of a new proposal."""
        trial.set_user_attr(NAME, trial_id)
        self._open[trial_id] = trial

    def report(self, trial_id: str, epoch: int, score: float) -> None:
        """Record an epoch's score, a fraction; an epoch reported before keeps its first score."""
        trial = self._open.get(trial_id)
        if trial is not None:
            # A resumed trial repeats its epoch.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                trial.report(score, epoch)

    def tell(self, trial_id: str, outcome: Outcome) -> None:
        """Close a proposal with its outcome; a closed one stays unchanged."""
        trial = self._open.get(trial_id)
        if trial is None:
            return
        value = outcome.score
        if outcome.state is TrialState.PRUNED:
            value = None
            if outcome.score is not None and outcome.epoch is not None:
                # Tune does not pass the result at which a trial was stopped to the searcher.
                self.report(trial_id, outcome.epoch, outcome.score)
        self.study.tell(trial, value, state=outcome.state)
        del self._open[trial_id]

    def add_baseline(self, baseline: TrialConfig, outcome: Outcome) -> None:
        """Add a completed baseline to the Optuna study, once, if the arm's space contains it."""
        label = baseline.label
        is_known = any(trial.user_attrs.get("label") == label for trial in self.trials)
        choices = self.space.encode(baseline.settings)
        if choices is not None and not is_known and outcome.state is TrialState.COMPLETE:
            attributes = {"label": label, NAME: baseline.trial_id}
            self._add(choices, value=outcome.score, user_attrs=attributes)

    def fail_orphans(self) -> None:
        """Close the proposals of a driver that died before it recorded their trials."""
        under_way = {trial.number for trial in self._open.values()}
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number not in under_way:
                self.study.tell(trial.number, state=TrialState.FAIL)

    def agrees_with(self, recorded: Sequence[Recorded]) -> bool:
        """Return whether the journal agrees with the ledger's records of this arm's trials."""
        by_name = self._trials_by_name()
        for record in recorded:
            trial = by_name.get(record.trial_id)
            if trial is None:
                return False
            choices = FixedTrial(trial.params)
            if self.space.decode(choices, out_of_range="ignore") != record.settings:
                return False
            scores = dict(trial.intermediate_values)
            if trial.state is TrialState.COMPLETE:
                last_epoch = max(record.scores, default=0)
                scores[last_epoch] = trial.value
            for epoch, score in scores.items():
                if record.scores.get(epoch, score) != score:
                    return False
        return True

    def restore(self, recorded: Sequence[Recorded]) -> None:
        """Add what the journal lacks of recorded trials: their choices, scores and outcomes."""
        by_name = self._trials_by_name()
        for record in recorded:
            if record.trial_id not in by_name:
                choices = self.space.encode(record.settings) or FixedTrial({})
                self._add(choices, state=TrialState.RUNNING, user_attrs={NAME: record.trial_id})
        by_name = self._trials_by_name()
        for record in recorded:
            trial = by_name[record.trial_id]
            if trial.state.is_finished():
                continue
            self._open[record.trial_id] = reopen_trial(self.study, trial)
            for epoch, score in record.scores.items():
                self.report(record.trial_id, epoch, score)
            if record.outcome:
                self.tell(record.trial_id, record.outcome)

    def _trials_by_name(self) -> dict[str, FrozenTrial]:
        """Return the trials of the arm's Optuna study by their ids in the ledger."""
        return {trial.user_attrs[NAME]: trial for trial in self.trials if NAME in trial.user_attrs}

    def _add(self, choices: FixedTrial, **fields: Any) -> None:
        trial = optuna.trial.create_trial(
            params=choices.params, distributions=choices.distributions, **fields
        )
        self.study.add_trial(trial)


def open_journal(path: Path, name: str) -> optuna.Study:
    """Open or create an arm's Optuna study in a journal file, which suits shared file systems.

    Args:
        path: the journal file, which all arms of a study share.
        name: the name of the arm and of its Optuna study.

    Raises:
        StorageError: the journal's folder cannot be read or written.
        DamagedJournalError: Optuna cannot read the journal.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = with_retries(path, lambda: JournalStorage(_Journal(path)))
        # It writes, and only then does Optuna read a damaged last line.
        return optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
    except StorageError:
        raise
    except Exception as error:  # Optuna does not check what it reads
        raise DamagedJournalError(f"{type(error).__name__}: {error}") from error


class DamagedJournalError(StudyError):
    """A journal that cannot be read, or that contradicts the ledger."""


class _Journal(journal.JournalFileBackend):
    """A journal with a single writer.

    It needs no lock file, which a killed process would leave behind.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))  # makes the file
        self._path = path
        with path.open("r+b", buffering=0) as file:
            drop_cut_line(file)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the log entries from a number on."""
        read = super().read_logs
        yield from with_retries(
            self._path, lambda: list(read(log_number_from)), existing=self._path.parent
        )

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append log entries; they are on disk when this returns."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        append_lines(self._path, lines.encode(), existing=self._path.parent)


def rename_damaged(path: Path, why: str) -> None:
    """Rename a damaged journal, so that a new one is made from the ledger."""
    kept = path.with_name(f"{path.name}.damaged")
    logger.warning("%s is damaged (%s); it is kept as %s and made again", path, why, kept.name)
    with_retries(path, lambda: path.replace(kept))
