"""The stage that tests: every candidate is trained again on the shots of each seed."""

from collections.abc import Mapping, Sequence

from study.search.ledger_callback import Observers
from study.search.make_trial import make_trial
from study.search.queues import ReuseResults, run_queue
from study.search.searcher import Proposal
from study.trial.study import Candidate, Stage, Study, TrialData


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
    queue = []
    for turn, seed in enumerate(data):
        for index, candidate in enumerate(candidates):
            if candidate.same_as is not None:
                continue
            label = candidate.label
            proposal = Proposal(candidate.settings, label, turn * numbers_a_seed + index)
            trial = make_trial(study, data[seed], stage, proposal, label=label, seed=seed)
            queue.append(trial)
    run_queue(study, stage, queue, data, observers, reuse_results)
