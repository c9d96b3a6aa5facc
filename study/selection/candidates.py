"""The choice of the configurations to test, fixed by validation before the test split is read.

A study that is extended gets a new choice beside the earlier one, see `study.selection.extension`.
"""

from collections.abc import Iterable, Sequence

from study.config.labels import (
    BEST_PEER,
    CALIBRATED,
    RANKS,
    TUNED,
    TUNED_LINEAR,
    WITH_DELTA,
)
from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings
from study.errors import StudyError
from study.selection.extension import beside_earlier
from study.selection.ranking import Judged, rank_finished_trials, trained
from study.trial.study import Candidate, Study


def tuned_clipfit(judged: Iterable[Judged]) -> Judged | None:
    """Return the best of CLIPFit's own search and of CLIPFit as published.

    Args:
        judged: the finished trials, best first.
    """
    for trial in judged:
        if trial.config.arm == TUNED or _is_baseline(trial, "clipfit"):
            return trial
    return None


def tuned_with_head(judged: Sequence[Judged]) -> Judged | None:
    """Return the best trial that uses the training of tuned CLIPFit with a linear head.

    Args:
        judged: the finished trials, best first.

    Returns:
        None where no trial does, as in a study without linear heads.
    """
    tuned = tuned_clipfit(judged)
    for trial in judged:
        is_linear = trial.config.settings.head == "linear"
        if tuned and is_linear and trial.training == tuned.training:
            return trial
    return None


def variants(
    judged: Sequence[Judged], config: StudyConfig, strength: float
) -> dict[str, TrialSettings]:
    """Return the baselines and tuned CLIPFit with another head and strength, to be validated too.

    Args:
        judged: the finished trials, best first.
        config: the study's configuration.
        strength: the protocol's strength.

    Returns:
        The settings by label; those equal to others among the finished trials are left out.
    """
    plain = {label: _baseline(judged, label) for label in config.search.baselines}
    plain[TUNED] = tuned_clipfit(judged)
    known = {trained(trial.config.subset_key, trial.config.settings) for trial in judged}
    further = {}
    for label, trial in plain.items():
        if not trial or not trial.config.epochs:
            continue
        for name, settings in _variants_of(label, trial.config.settings, config, strength).items():
            training = trained(trial.config.subset_key, settings)
            if training not in known:
                known.add(training)
                further[name] = settings
    return further


def possible_variants(config: StudyConfig, strength: float) -> list[str]:
    """Return the labels that `variants` can have at most, whatever the search finds.

    Args:
        config: the study's configuration.
        strength: the protocol's strength.
    """
    search = config.search
    plain = dict(search.fixed_baselines)
    for label, peer in search.peer_arms.items():
        plain[label] = TrialSettings(subset="none", peer=peer.with_rate(peer.lr[0]))
    plain[TUNED] = TrialSettings(subset=search.fixed_baselines["clipfit"].subset)
    labels = []
    for label, settings in plain.items():
        if settings.subset == "none" and not settings.peer:
            continue
        for name, variant in _variants_of(label, settings, config, strength).items():
            if variant != settings:
                labels.append(name)
    return labels


def _variants_of(
    label: str, settings: TrialSettings, config: StudyConfig, strength: float
) -> dict[str, TrialSettings]:
    """Return settings with the heads of the search and another strength, by their labels."""
    further = {}
    heads = config.search.space.heads
    if "text" in heads:
        further[f"{label}-strength"] = settings.model_copy(update={"strength": strength})
    if "linear" in heads:
        change = {"strength": strength, "head": "linear"}
        further[f"{label}-linear"] = settings.model_copy(update=change)
    return further


def choose_candidates(
    judged: Sequence[Judged], baselines: Iterable[str], runners_up: int
) -> list[Candidate]:
    """Return the configurations to test; equal ones are trained once.

    They are the baselines, tuned CLIPFit without and with a linear head, the winner, the
    runners-up, and the best peer. A baseline can win too. Tuned CLIPFit is the best of CLIPFit's
    own search and the baseline ``clipfit``, which has the published rates.

    Args:
        judged: the finished trials, best first.
        baselines: the labels of the baselines.
        runners_up: the number of configurations to test after the winner.
    """
    trials = [(label, _baseline(judged, label)) for label in baselines]
    trials.append((TUNED, tuned_clipfit(judged)))
    trials += zip(RANKS[: 1 + runners_up], judged, strict=False)
    trials.append((TUNED_LINEAR, tuned_with_head(judged)))
    best_peer = next((trial for trial in judged if trial.settings.is_peer), None)
    if all(trial is not best_peer for _, trial in trials):
        trials.append((BEST_PEER, best_peer))
    best = judged[0]
    if not best.settings.writes_delta:
        with_delta = (trial for trial in judged if trial.settings.writes_delta)
        trials.append((WITH_DELTA, next(with_delta, None)))
    candidates = []
    for label, trial in trials:
        if trial:
            candidate = Candidate(
                label=label,
                settings=trial.settings,
                val_score=trial.val_score,
                source_trial=trial.config.trial_id,
            )
            candidates.append((trial.config.subset_key, candidate))
    if "val_calibration" in best.report:
        change = {"calibration": best.report["val_calibration"]}
        calibrated = Candidate(label=CALIBRATED, settings=best.settings.model_copy(update=change))
        candidates.append((best.config.subset_key, calibrated))
    return _with_same_as(candidates)


def _with_same_as(candidates: Iterable[tuple[str, Candidate]]) -> list[Candidate]:
    """Return candidates, each with the label of the first one that is trained in the same way.

    Args:
        candidates: the key of the subset of each, and the candidate.
    """
    first_labels: dict[tuple[str, TrialSettings], str] = {}
    labelled = []
    for subset_key, candidate in candidates:
        label = first_labels.setdefault(trained(subset_key, candidate.settings), candidate.label)
        if label != candidate.label:
            candidate = candidate.model_copy(update={"same_as": label})
        labelled.append(candidate)
    return labelled


def _baseline(judged: Iterable[Judged], label: str) -> Judged | None:
    """Return a baseline; of a peer that has a search of its own, the best."""
    for trial in judged:
        is_of_its_search = trial.config.arm == label and trial.settings.peer is not None
        if is_of_its_search or _is_baseline(trial, label):
            return trial
    return None


def _is_baseline(trial: Judged, label: str) -> bool:
    return (trial.config.arm, trial.config.label) == ("baseline", label)


def fix_candidates(study: Study) -> tuple[Candidate, ...]:
    """Return the candidates of a study; the first call chooses and writes them.

    They are chosen by validation, and those that were tested before the search was extended stay
    beside them. Without a search they are the baselines.

    Raises:
        StudyError: no trial completed all its epochs.
    """
    written = study.candidates()
    if written is not None:
        return written
    config, folder, protocol = study.config, study.folder, study.protocol
    if not protocol.searches(config):
        baselines = [
            Candidate(label=label, settings=settings)
            for label, settings in protocol.fixed_settings(config).items()
        ]
        return study.write_candidates(baselines)
    judged = rank_finished_trials(folder)
    if not judged:
        last_error = "none"
        for trial in folder.trials():
            end = trial.read_end()
            if end and end.status == "failed" and end.reason:
                last_error = end.reason
        raise StudyError(
            f"no trial of {folder.name} ran all its epochs, so there is nothing to test; "
            f"the last error was: {last_error}"
        )
    chosen = choose_candidates(judged, config.search.baselines, config.confirm.runners_up)
    return study.write_candidates(beside_earlier(study, chosen))
