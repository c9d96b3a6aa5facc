"""What a study ships: the candidate that is registered, exported and predicted with."""

from collections.abc import Sequence

from study.config.labels import AVERAGE, WITH_DELTA
from study.config.schema import RefitConfig
from study.trial.study import Candidate, Stage, Study, best_candidate, candidate_of_label


def candidate_to_ship(
    candidates: Sequence[Candidate] | None, refit: RefitConfig
) -> Candidate | None:
    """Return the candidate that is registered, exported and predicted with; None if there is none.

    It is the average of the best if that is asked for and the best candidate tunes a part of CLIP.
    Else it is the best candidate or, where that writes no delta, the best that writes one.
    """
    best = best_candidate(candidates)
    average = candidate_of_label(candidates, AVERAGE)
    averages = refit.average > 1 and average is not None
    if averages and best and best.settings.subset != "none":
        return average
    return candidate_of_label(candidates, WITH_DELTA) or best


def refit_trial_id(stage: Stage, refit: RefitConfig, candidate: Candidate) -> str:
    """Return the id of the trial that trains a candidate as the section ``refit`` asks."""
    _, _, source = str(candidate.source_trial).partition("-")
    if stage == "unknown":
        return f"{stage}-{source}"
    words: list[str] = [stage, refit.images]
    if stage == "refit" and candidate.members and refit.unknown_check:
        words.append("checked")
    return "-".join([*words, source])


def refit_trial_ids(study: Study, candidate: Candidate) -> set[str]:
    """Return the ids of all trials of a refit, trained or not."""
    refit = study.config.refit
    ids = {refit_trial_id("refit", refit, candidate)}
    members = [one for one in study.candidates() or () if one.label in candidate.members]
    ids.update(refit_trial_id("member", refit, member) for member in members)
    if refit.unknown_check and members:
        ids.update(refit_trial_id("unknown", refit, one) for one in (*members, candidate))
    return ids
