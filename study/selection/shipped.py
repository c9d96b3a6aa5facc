"""What a study ships: the candidate that is registered, exported and predicted with."""

from collections.abc import Sequence

from study.config.labels import WITH_DELTA
from study.config.schema import RefitConfig
from study.trial.study import Candidate, best_candidate, candidate_of_label


def candidate_to_ship(candidates: Sequence[Candidate] | None) -> Candidate | None:
    """Return the candidate that is registered, exported and predicted with; None if there is none.

    It is the best candidate or, where that writes no delta, the best that writes one.
    """
    return candidate_of_label(candidates, WITH_DELTA) or best_candidate(candidates)


def refit_trial_id(refit: RefitConfig, candidate: Candidate) -> str:
    """Return the id of the trial that trains a candidate as the section ``refit`` asks."""
    _, _, source = str(candidate.source_trial).partition("-")
    return f"refit-{refit.images}-{source}"
