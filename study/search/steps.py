"""The steps of a study: search or ablation, then the test beside the final model.

A step yields a round of the trials that the study's folder lacks, and goes on when it has ended.
"""

import logging
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import NamedTuple

from study.config.labels import BASELINE
from study.config.trial_settings import TrialSettings
from study.errors import StudyError
from study.results.best_configuration import final_candidate, final_trial_id
from study.search.ablation_cells import ablation_trials
from study.search.candidates import rank_finished_trials
from study.search.groups import Group, plan_groups
from study.search.make_trial import Proposal, make_trial
from study.search.observers import Observers
from study.search.recorded_trials import (
    DataBySeed,
    RecordedTrial,
    close_trial,
    read_recorded_trials,
)
from study.search.scheduler import StudyScheduler
from study.search.searcher import Round, Rounds, SearchPlan, StudySearcher, trains_encoders
from study.storage.trial_folder import EARLIER_END
from study.trial.prepare import Preparer
from study.trial.search_time import seconds_used
from study.trial.study import Candidate, Stage, Study, TrialConfig, TrialData, best_candidate

logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Trials of one stage that are known beforehand."""

    stage: Stage
    trials: Sequence[TrialConfig]
    data: DataBySeed
    """The data of the trials, by seed."""


def seconds_left(study: Study) -> float | None:
    """Return the seconds that the search may still take, negative if it has taken more.

    None means without limit.
    """
    minutes = study.config.search.minutes
    return None if minutes is None else 60 * minutes - seconds_used(study.folder)


def run_search(study: Study, data: TrialData, observers: Observers) -> Rounds:
    """Train what is left of the baselines and of the groups that propose trials.

    Baselines come first, the cheapest before the others. If a group ends without a trial that came
    to its last epoch, the one with the best score at its highest rung continues from its state. If
    candidates are fixed, only reopened trials are trained, as they were before.

    Args:
        study: the study.
        data: the data of the search's trials.
        observers: the listeners that are notified of every trial.

    Raises:
        DataError: earlier trials used other images or classes.
        InterruptedStudyError: the study was interrupted before all trials ended.
        StudyError: no trial fits this machine.
    """
    by_seed = {study.config.seed: data}
    if study.candidates() is not None:
        recorded = yield from _train(study, [Batch("search", [], by_seed)], observers)
        for trial in recorded:
            trial.folder.delete_state()
        return
    search = study.config.search
    queue = [
        make_trial(study, data, "search", Proposal(settings, BASELINE, number, label))
        for number, (label, settings) in enumerate(search.fixed_baselines.items())
    ]
    # What trains an encoder comes last; their numbers stay those of the configuration.
    queue.sort(key=lambda trial: (trains_encoders(trial), trial.epochs, trial.trainable))
    groups = plan_groups(study)
    seconds = seconds_left(study)
    deadline = None if seconds is None else time.monotonic() + seconds
    plan = SearchPlan(study, data, groups, deadline)
    recorded = yield from _train(study, [Batch("search", queue, by_seed)], observers, plan)
    unfinished = _best_of_unfinished_groups(recorded)
    if unfinished and (deadline is None or time.monotonic() < deadline):
        for trial in unfinished:
            trial.folder.continue_from_state()
        recorded = yield from _train(study, [Batch("search", [], by_seed)], observers)
    for trial in recorded:
        trial.folder.delete_state()
    _restore_groups(groups, recorded)
    for group in groups:
        group.write(study.folder.path)


def _best_of_unfinished_groups(recorded: Sequence[RecordedTrial]) -> list[RecordedTrial]:
    """Return the best stopped trial of each group of which none came to its last epoch."""
    best: dict[str, RecordedTrial] = {}
    for trial in recorded:
        if trial.end and trial.end.status == "stopped" and trial.scores:
            other = best.setdefault(trial.config.group, trial)
            best[trial.config.group] = max(other, trial, key=lambda one: max(one.scores.items()))
    for trial in recorded:
        if trial.end and trial.end.status == "finished":
            best.pop(trial.config.group, None)
    return list(best.values())


def run_test(study: Study, batches: Sequence[Batch], observers: Observers) -> Rounds:
    """Train and test each configuration with each seed, and the final model beside them.

    The final model's settings are chosen by validation, as those of the tests are, so neither waits
    for the other.

    Args:
        study: the study.
        batches: the results of `plan_test` and `plan_final`.
        observers: the listeners that are notified of every trial.
    """
    for trial in (yield from _train(study, batches, observers)):
        if trial.config.stage == "final" and trial.end and trial.end.status == "failed":
            logger.warning(
                "the final training failed (%s), so a tested model is used instead; to repeat the "
                "training, run\n  clipfit-study resume %s",
                trial.end.reason,
                study.folder.name,
            )


def plan_test(
    study: Study,
    trainings: Mapping[str, TrialSettings],
    data: DataBySeed,
    stage: Stage = "test",
) -> Batch:
    """Return the trials that test each configuration on each seed's shots.

    Args:
        study: the study.
        trainings: the settings of the trainings by label: the result of `trainings_of`, or the
            cells of an ablation.
        data: the data of the trials, by seed.
        stage: ``test``, or ``ablation``.
    """
    # The id of an ablation's trial is made of its number, which must be unique over all seeds.
    numbers_a_seed = max(1000, len(trainings))
    trials = []
    for turn, seed in enumerate(data):
        for index, (label, settings) in enumerate(trainings.items()):
            number = turn * numbers_a_seed + index
            proposal = Proposal(settings, label, number, label, seed)
            trials.append(make_trial(study, data[seed], stage, proposal))
    return Batch(stage, trials, data)


def trainings_of(candidates: Sequence[Candidate]) -> dict[str, TrialSettings]:
    """Return the settings of each training that candidates need, by its hash.

    Candidates of one training may differ in the head that they are used with. A trial has the head
    of the final model, else of the best configuration, else of the first of them.
    """
    settings = {candidate.training: candidate.settings for candidate in reversed(candidates)}
    for candidate in (best_candidate(candidates), final_candidate(candidates)):
        if candidate:  # its head is a part of its delta
            settings[candidate.training] = candidate.settings
    return dict(reversed(settings.items()))


def plan_final(study: Study, preparer: Preparer, observers: Observers) -> Batch:
    """Return the training of the final model on ``final.images``, if there is to be one.

    It is tested unless it learns from test images. If it failed before, it is tried again. Open
    trials of other final models, which are left by an interruption before ``final.images`` or the
    candidates changed, are closed.

    Args:
        study: the study.
        preparer: lays out its data.
        observers: the listeners that are notified of every trial.
    """
    candidate = final_candidate(study.candidates())
    trial_id = final_trial_id(study.config, candidate)
    for other in read_recorded_trials(study, "final", {}, observers).values():
        if other.config.trial_id != trial_id and not other.end:
            reason = "replaced by another final training"
            close_trial(other, observers, "stopped", reason=reason)
    if candidate is None or trial_id is None:
        return Batch("final", [], {})
    folder = study.folder.trial(trial_id)
    end = folder.read_end()
    if end and end.status != "finished":
        folder.reopen()
        (folder.path / EARLIER_END).unlink(missing_ok=True)  # it is to come to its last epoch
    data = preparer.final()
    proposal = Proposal(candidate.settings, candidate.label, 0, candidate.label)
    trial = make_trial(study, data, "final", proposal)
    trial = trial.model_copy(update={"trial_id": trial_id})
    return Batch("final", [trial], {study.config.seed: data})


def run_ablation(study: Study, data: TrialData, observers: Observers) -> Rounds:
    """Train every cell at every combination of its rates and evaluate it by validation.

    Args:
        study: the study.
        data: the data of the search's trials.
        observers: the listeners that are notified of every trial.
    """
    queue: list[TrialConfig] = []
    by_seed = {study.config.seed: data}
    for label, trials in ablation_trials(study).items():
        for name, settings in trials.items():
            proposal = Proposal(settings, label, len(queue), name)
            queue.append(make_trial(study, data, "search", proposal))
    yield from _train(study, [Batch("search", queue, by_seed)], observers)


def choose_rates(study: Study) -> Mapping[str, TrialSettings]:
    """Choose each cell's learning rates by validation, before the test split is read.

    They are written once; later calls read it.

    Returns:
        The chosen settings of each cell, by label; a cell of which no trial ran all its epochs is
        left out.

    Raises:
        StudyError: no trial of any cell ran all its epochs.
    """
    written = study.cells()
    if written is not None:
        return written
    planned = ablation_trials(study)
    if not study.protocol.validates(study.config):  # each cell has one trial
        cells = {label: one for label, trials in planned.items() for one in trials.values()}
        return study.write_cells(cells)
    cells = {}
    for trial in rank_finished_trials(study.folder):
        cells.setdefault(trial.config.group, trial.config.settings)
    if not cells:
        raise StudyError("no trial ran all its epochs, so no cell can be tested")
    return study.write_cells({label: cells[label] for label in planned if label in cells})


def _train(
    study: Study,
    batches: Sequence[Batch],
    observers: Observers,
    plan: SearchPlan | None = None,
) -> Generator[Round, None, list[RecordedTrial]]:
    """Train the trials of some batches that have not ended, and then what groups propose.

    Successive halving stops trials only where groups propose them. A trial that had ended and was
    reopened ends as it had.

    Returns:
        All trials of the batches' stages.
    """
    recorded = _read_all(study, batches, observers)
    groups = plan.groups if plan else ()
    asha = study.config.search.asha if plan else None
    before = {name: trial.earlier_end for name, trial in recorded.items() if trial.earlier_end}
    deadline = plan.deadline if plan else None
    scheduler = StudyScheduler(asha, study.config.training.epochs, before, deadline)
    for trial in scheduler.replay(recorded.values()):
        trial_id = trial.config.trial_id
        reason = scheduler.reasons[trial_id]
        recorded[trial_id] = close_trial(trial, observers, "stopped", reason=reason)
    _restore_groups(groups, recorded.values())
    left = [trial.config for trial in recorded.values() if not trial.end]  # what has started first
    given = [config for batch in batches for config in batch.trials]
    left += [config for config in given if config.trial_id not in recorded]
    searcher = StudySearcher(study.folder, left, [*recorded.values()], plan)
    data = {batch.stage: batch.data for batch in batches}
    yield Round(searcher, scheduler, data, observers)
    return list(_read_all(study, batches, observers).values())


def _read_all(
    study: Study, batches: Sequence[Batch], observers: Observers
) -> dict[str, RecordedTrial]:
    """Return the recorded trials of the batches' stages, by id."""
    recorded: dict[str, RecordedTrial] = {}
    for batch in batches:
        recorded |= read_recorded_trials(study, batch.stage, batch.data, observers)
    return recorded


def _restore_groups(groups: Sequence[Group], recorded: Iterable[RecordedTrial]) -> None:
    """Give groups the trials that were recorded before."""
    trials = sorted(recorded, key=lambda trial: trial.config.number)
    for group in groups:
        group.started = sum(trial.config.group == group.name for trial in trials)
        for trial in trials:
            group.tell(trial)
