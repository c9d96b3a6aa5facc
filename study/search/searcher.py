"""The source of the trials of a round: a queue first, then the proposals of groups."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from study.search.groups import Group
from study.search.make_trial import Proposal, make_trial
from study.search.observers import Observers
from study.search.recorded_trials import DataByStage, RecordedTrial
from study.search.scheduler import StudyScheduler
from study.storage.study_folder import StudyFolder
from study.trial.study import Study, TrialConfig, TrialData

logger = logging.getLogger(__name__)

MOST_REJECTED = 50
"""The number of known proposals in a row after which a group counts as exhausted."""


class SearchPlan(NamedTuple):
    """What a search trains once its queue is empty."""

    study: Study
    data: TrialData
    """The data of the trials."""
    groups: Sequence[Group]
    """The groups that propose trials; the one that is least far proposes next."""
    deadline: float | None = None
    """When nothing is proposed any more, by `time.monotonic`; None means no limit."""


class StudySearcher:
    """A source of trials that writes each into the study's folder before it is trained.

    Args:
        folder: the study's folder.
        queue: the trials that are fixed already: those to go on with, baselines, tests.
        recorded: the trials of the stage that have a folder; their settings are not trained again.
        plan: what is trained then; None means nothing.
    """

    def __init__(
        self,
        folder: StudyFolder,
        queue: Iterable[TrialConfig],
        recorded: Sequence[RecordedTrial] = (),
        plan: SearchPlan | None = None,
    ) -> None:
        self.folder = folder
        self.running: dict[str, TrialConfig] = {}
        """The configuration of each trial that is not closed on disk, by its runner's id of it."""
        self._queue = deque(queue)
        self._plan = plan
        trials = [*(one.config for one in recorded), *self._queue]
        self._known = {trial.config_hash for trial in trials}
        self._next_number = 1 + max((trial.number for trial in trials), default=-1)

    def suggest(self, trial_id: str) -> TrialConfig | None:
        """Return the next trial, which then has a folder; None if there is none left."""
        config = self._queue.popleft() if self._queue else self._propose()
        if config:
            self.folder.trial(config.trial_id).create(config.model_dump(mode="json"))
            self.running[trial_id] = config
        return config

    def has_trials(self) -> bool:
        """Return whether trials are left, if there is time for them."""
        groups = self._plan.groups if self._plan else ()
        return bool(self._queue) or any(group.started < group.planned for group in groups)

    def conclude(self, trial: RecordedTrial) -> None:
        """Show a trial that ended to the groups."""
        for group in self._plan.groups if self._plan else ():
            group.tell(trial)

    def _propose(self) -> TrialConfig | None:
        """Return a trial of the group that is least far; None if none has any left, or no time."""
        plan = self._plan
        while plan and (plan.deadline is None or time.monotonic() < plan.deadline):
            unfinished = [group for group in plan.groups if group.started < group.planned]
            if not unfinished:
                return None
            group = min(unfinished, key=lambda group: group.started / group.planned)
            trial = self._trial_of(group, plan)
            if trial:
                return trial
            logger.warning(
                "%s: all new proposals were tried before, so this group ends", group.name
            )
            group.planned = group.started
        return None

    def _trial_of(self, group: Group, plan: SearchPlan) -> TrialConfig | None:
        """Return a trial that a group proposes, and that was not tried; None if it has none."""
        number = self._next_number
        for attempt in range(MOST_REJECTED):
            settings = group.propose(number, attempt)
            proposal = Proposal(settings, group.name, number)
            trial = make_trial(plan.study, plan.data, "search", proposal)
            if trial.config_hash not in self._known:
                self._known.add(trial.config_hash)
                self._next_number += 1
                group.started += 1
                return trial
            group.reject(number)
        return None


@dataclass(frozen=True)
class Round:
    """Trials that all end before the next round is made, such as those of a search."""

    searcher: StudySearcher
    """The source of the trials."""
    scheduler: StudyScheduler
    """The scheduler that stops trials early."""
    data: DataByStage
    """The data of the trials, by stage and seed."""
    observers: Observers
    """The listeners that are notified of every trial."""


Rounds = Iterator[Round]
"""The rounds of a study; one is made when it is asked for, after the one before has ended."""


def trains_encoders(config: TrialConfig) -> bool:
    """Return whether a trial has steps that pass an encoder, so that it costs more than others."""
    method = config.settings.method
    return config.epochs > 0 and (method is None or method.passes_encoders)
