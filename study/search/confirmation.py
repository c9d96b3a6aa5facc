"""The stage that tests: every candidate is trained again on the shots of each seed."""

from collections.abc import Mapping, Sequence

from study.config.labels import AVERAGE
from study.search.ledger_callback import Observers
from study.search.make_trial import make_trial
from study.search.queues import ReuseResults, run_queue
from study.search.searcher import Proposal
from study.selection.average import average_members, average_settings, averaged_trials
from study.selection.ranking import rank_finished_trials
from study.trial.study import AveragedTrial, Candidate, Stage, Study, TrialData


def run_confirm(
    study: Study,
    candidates: Sequence[Candidate],
    data: Mapping[int, TrialData],
    observers: Observers,
    *,
    stage: Stage = "confirm",
    reuse_results: ReuseResults | None = None,
) -> None:
    """Train every candidate on each seed's shots and test it.

    Args:
        study: the study.
        candidates: the candidates; one that equals another is skipped.
        data: the data of the trials, by seed.
        observers: see `run_queue`.
        stage: ``confirm``, or ``ablation`` if the candidates are its cells.
        reuse_results: see `run_queue`.
    """
    # The id of an ablation's trial is made of its number, which must be unique over all seeds.
    numbers_a_seed = max(1000, len(candidates))
    settings = {candidate.label: candidate.settings for candidate in candidates}
    queue = []
    for turn, seed in enumerate(data):
        for index, candidate in enumerate(candidates):
            if candidate.same_as is not None:
                continue
            label = candidate.label
            members = [
                AveragedTrial(trial_id=f"confirm-{member}-seed{seed}", settings=settings[member])
                for member in candidate.members
            ]
            number = turn * numbers_a_seed + index
            proposal = Proposal(candidate.settings, label, number, members=members)
            trial = make_trial(study, data[seed], stage, proposal, label=label, seed=seed)
            queue.append(trial)
    run_queue(study, stage, queue, data, observers, reuse_results)


def validate_average(study: Study, data: TrialData, observers: Observers) -> None:
    """Score the average of the best configurations on the folds, with each head of the search.

    Nothing is trained but heads: the members' models of the same folds are averaged.

    Args:
        study: the study, whose search has ended.
        data: the data of the search.
        observers: see `run_queue`.
    """
    members = average_members(rank_finished_trials(study.folder), study.config.refit.average)
    queue = []
    if members:
        trials = averaged_trials(members)
        for number, settings in enumerate(average_settings(study, members)):
            proposal = Proposal(settings, AVERAGE, number, members=trials)
            queue.append(make_trial(study, data, "average", proposal, label=AVERAGE))
    run_queue(study, "average", queue, {study.config.seed: data}, observers)
