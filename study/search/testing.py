"""The stage that tests: every training is repeated on the shots of each seed, and tested."""

from collections.abc import Mapping, Sequence

from study.config.trial_settings import TrialSettings
from study.results.chosen_configuration import final_candidate
from study.search.ledger_callback import Observers
from study.search.make_trial import make_trial
from study.search.queues import run_queue
from study.search.searcher import Proposal
from study.trial.study import Candidate, Stage, Study, TrialData


def trainings_of(candidates: Sequence[Candidate]) -> dict[str, TrialSettings]:
    """Return the settings of each training that candidates need, by its hash.

    Candidates of one training may differ in the head that they are used with. A trial has the head
    of the final model, else of the first of them, and scores of all of them.
    """
    settings = {candidate.training: candidate.settings for candidate in reversed(candidates)}
    final = final_candidate(candidates)
    if final:  # its head is a part of its delta
        settings[final.training] = final.settings
    return dict(reversed(settings.items()))


def run_test(
    study: Study,
    trainings: Mapping[str, TrialSettings],
    data: Mapping[int, TrialData],
    observers: Observers,
    *,
    stage: Stage = "test",
) -> None:
    """Train each configuration on each seed's shots and test it.

    Args:
        study: the study.
        trainings: the settings of the trainings by label: the result of `trainings_of`, or the
            cells of an ablation.
        data: the data of the trials, by seed.
        observers: see `run_queue`.
        stage: ``test``, or ``ablation``.
    """
    # The id of an ablation's trial is made of its number, which must be unique over all seeds.
    numbers_a_seed = max(1000, len(trainings))
    queue = []
    for turn, seed in enumerate(data):
        for index, (label, settings) in enumerate(trainings.items()):
            proposal = Proposal(settings, label, turn * numbers_a_seed + index)
            trial = make_trial(study, data[seed], stage, proposal, label=label, seed=seed)
            queue.append(trial)
    run_queue(study, stage, queue, data, observers)
