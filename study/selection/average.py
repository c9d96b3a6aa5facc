"""The average of the best configurations, which is tested beside them.

Its members are the best finished trials of the search that tune a part of CLIP, each training once.
Whether the text or a linear head classifies is chosen as it is for a trial: on every fold, the
average of the members' models of that fold is scored.
"""

from collections.abc import Sequence

from study.config.labels import AVERAGE, RANKS
from study.config.trial_settings import TrialSettings, joint_subset
from study.selection.ranking import Judged, rank_finished_trials
from study.trial.study import AveragedTrial, Candidate, Study


def average_members(judged: Sequence[Judged], count: int) -> list[Judged]:
    """Return the trials to average: the best that tune a part of CLIP; empty below two.

    Args:
        judged: the finished trials, best first.
        count: the most members.
    """
    members: dict[object, Judged] = {}
    for trial in judged[: len(RANKS)]:
        if trial.config.epochs and not trial.settings.is_peer and len(members) < count:
            members.setdefault(trial.training, trial)
    if len(members) < 2:
        return []
    return list(members.values())


def average_settings(study: Study, members: Sequence[Judged]) -> list[TrialSettings]:
    """Return the settings by which an average may classify, one for each head of the search."""
    settings = [member.settings for member in members]
    subset = joint_subset(settings, study.architecture.depths)
    strength = study.protocol.configured_strength(study.config)
    return [
        TrialSettings(subset=subset, head=head, strength=strength)
        for head in study.config.search.space.heads
    ]


def averaged_trials(members: Sequence[Judged]) -> tuple[AveragedTrial, ...]:
    """Return the trials of an average, as its own trial names them."""
    return tuple(
        AveragedTrial(trial_id=member.config.trial_id, settings=member.config.settings)
        for member in members
    )


def average_candidate(
    study: Study, members: Sequence[Judged], chosen: Sequence[Candidate]
) -> Candidate | None:
    """Return the average with the head that is best on the folds; None if it was not validated.

    Args:
        study: the study.
        members: the trials to average.
        chosen: the other candidates, among which each member is.
    """
    trials = averaged_trials(members)
    scored = rank_finished_trials(study.folder, "average")
    of_members = [average for average in scored if average.config.members == trials]
    if not of_members:
        return None
    best = of_members[0]
    labels = {candidate.source_trial: candidate.label for candidate in reversed(chosen)}
    return Candidate(
        label=AVERAGE,
        settings=best.settings,
        val_score=best.val_score,
        source_trial=best.config.trial_id,
        members=tuple(labels[member.trial_id] for member in trials),
    )
