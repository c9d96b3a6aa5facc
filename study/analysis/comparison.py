"""The results of the confirm stage: candidates on test, each compared with the baselines.

Nothing is selected here: the winner is the candidate that validation chose before test images were
read, unless its test score is no better than guessing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from study.analysis.results import PARTS, Results, TrialResult
from study.analysis.statistics import (
    Estimate,
    PairedDifference,
    RankAgreement,
    Regret,
    estimate,
    holm,
    paired_difference,
    rank_agreement,
    regret,
)
from study.config.settings import Settings
from study.trial import Split
from study.trial.predictions import beats_chance
from study.trial.study import BEST, Candidate

PUBLISHED = "clipfit"
TUNED = "clipfit-tuned"
ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline over common seeds."""

    paired: PairedDifference
    """The difference, its interval and p over the common seeds."""
    holm_p: float | None
    """The p after Holm's correction for all comparisons with the same baseline."""


@dataclass(frozen=True)
class Configuration:
    """One configuration over its seeds; scores are fractions."""

    label: str
    """Its name in the ledger."""
    settings: Settings
    """What is tuned, and how fast."""
    trainable: int
    """The number of trainable parameters."""
    scores: Mapping[int, float]
    """The protocol's score of each seed."""
    parts: Mapping[str, Estimate]
    """The accuracy on each part of the images; empty if the score has no parts."""


@dataclass(frozen=True)
class Entry(Configuration):
    """One confirmed candidate, with its scores on test."""

    aliases: tuple[str, ...]
    """The names of candidates with the same configuration, which were not trained again."""
    baseline: bool
    """Whether the candidate is a baseline, and not a result of the search."""
    chosen: bool
    """Whether validation chose the candidate, before any test image was read."""
    seeds_planned: int
    """The number of the candidate's confirm trials, with or without a test score."""
    test: Estimate
    """The protocol's score on test."""
    targets: Mapping[str, Estimate]
    """The accuracy on each dataset, where several are tested; else empty.

    `test` is then their mean, in the transfer protocol without the source.
    """
    chance: float | None
    """The test score of always naming the largest class; None if no trial kept class counts."""
    source_trial: str | None
    """The id of the search trial that the candidate came from, if any."""
    val_score: float | None
    """The validation score by which candidates were ranked."""
    val_base: float | None
    """The source trial's accuracy on validation images of base classes."""
    versus_tuned: Comparison | None = None
    """The difference to CLIPFit with tuned learning rates; None for that baseline itself."""
    versus_published: Comparison | None = None
    """The difference to CLIPFit as published; None for that baseline itself."""

    @property
    def versus(self) -> dict[str, Comparison | None]:
        """The differences by the label of the baseline."""
        return {TUNED: self.versus_tuned, PUBLISHED: self.versus_published}

    @property
    def above_chance(self) -> bool:
        """Whether the mean test score is above chance."""
        return beats_chance(self.test.mean, self.chance)

    @property
    def winner(self) -> bool:
        """Whether validation chose the candidate and its test score is above chance."""
        return self.chosen and self.above_chance

    @property
    def name(self) -> str:
        """The label, joined with the other names of the same configuration."""
        return " = ".join((self.label, *(alias for alias in self.aliases if alias != BEST)))


@dataclass(frozen=True)
class ArmBudget:
    """What one arm of the search spent: its trials, by status too, and their epochs and time."""

    arm: str
    trials: int
    finished: int
    stopped: int
    failed: int
    running: int
    epochs: int
    """The number of epochs of all trials together."""
    seconds: float
    """The sum of the trials' durations in seconds."""


@dataclass(frozen=True)
class ValidationCheck:
    """How well validation ranked what was tested."""

    agreement: RankAgreement | None
    """The rank correlation of the candidates' validation scores and mean test scores."""
    regret: Regret | None
    """The test score that picking a candidate by validation lost."""
    base_pick: str | None
    """The label of the candidate with the highest validation accuracy on base classes."""
    base_pick_trial: str | None
    """The search trial with the highest validation accuracy on base classes.

    None when a candidate has as high an accuracy; else the trial's test score is unknown.
    """


@dataclass(frozen=True)
class Leaderboard:
    """The confirmed candidates of a study, best mean test score first."""

    study: str
    """The name of the study."""
    parts: tuple[str, ...]
    """The parts of a score that are shown beside it; empty if it has none."""
    metric: str
    """What the score is called: "accuracy", or "hmean" of its parts."""
    entries: tuple[Entry, ...]
    """The candidates with at least one test score."""
    arms: tuple[ArmBudget, ...]
    """The budgets of the search's arms, in the order of their names."""
    check: ValidationCheck
    """How well validation ranked the candidates."""
    untested: tuple[str, ...]
    """The labels of candidates without any test score."""
    failures: tuple[TrialResult, ...] = ()
    """The failed trials of all stages."""
    chosen_before: tuple[int, ...] = ()
    """The number of search trials behind each earlier choice, the oldest first.

    A choice is an earlier one if it was tested before the search was extended.
    """

    @property
    def chance(self) -> float | None:
        """The test score of always naming the largest class; the same for all candidates."""
        return next((entry.chance for entry in self.entries if entry.chance is not None), None)

    @property
    def chosen(self) -> Entry | None:
        """The candidate that validation chose, which need not be the first entry."""
        return next((entry for entry in self.entries if entry.chosen), None)

    @property
    def winner(self) -> Entry | None:
        """The chosen candidate if its test score is above chance, else None."""
        return next((entry for entry in self.entries if entry.winner), None)

    @property
    def searched(self) -> bool:
        """Whether there was a search to choose from."""
        return bool(self.arms)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the tested datasets, where there are several; else empty."""
        return tuple(dict.fromkeys(name for entry in self.entries for name in entry.targets))

    def entry(self, label: str) -> Entry | None:
        """Return the candidate with this label or alias, if there is one."""
        return next((e for e in self.entries if label in (e.label, *e.aliases)), None)


def leaderboard(results: Results) -> Leaderboard:
    """Compare the confirmed candidates of a study with the baselines.

    Returns:
        The leaderboard; it has no entries while nothing is confirmed.
    """
    candidates = {candidate.label: candidate for candidate in results.candidates}
    # Equal configurations are trained once and share an entry, or they would be compared twice.
    same = {label: c.same_as for label, c in candidates.items() if c.same_as}
    confirmed = (trial.label for trial in results.stage("confirm"))
    labels = [label for label in dict.fromkeys([*candidates, *confirmed]) if label not in same]
    found = {
        label: _entry(
            (label, *(a for a in same if same[a] == label)), candidates.get(label), results
        )
        for label in labels
        if any(trial.test_score is not None for trial in results.confirmed(label))
    }
    scores = {label: entry.scores for label, entry in found.items()}
    tuned, published = (compare(scores, same.get(b, b)) for b in (TUNED, PUBLISHED))
    entries = [
        replace(entry, versus_tuned=tuned.get(label), versus_published=published.get(label))
        for label, entry in sorted(found.items(), key=lambda pair: -pair[1].test.mean)
    ]
    searched = results.stage("search")
    return Leaderboard(
        study=results.name,
        parts=results.parts,
        metric=results.metric,
        entries=tuple(entries),
        arms=tuple(
            _budget(arm, [trial for trial in searched if trial.arm == arm])
            for arm in sorted({trial.arm for trial in searched})
        ),
        check=_check(entries, searched),
        untested=tuple(label for label in labels if label not in found),
        failures=tuple(trial for trial in results.trials if trial.status == "failed"),
        chosen_before=results.chosen_before,
    )


def below_baselines(board: Leaderboard) -> tuple[tuple[str, PairedDifference | None], ...]:
    """Return the baselines with a higher mean test score than the winner, and `winner - baseline`.

    Returns:
        Pairs of label and difference; the difference is None without a common seed.
    """
    winner = board.winner
    return tuple(
        (entry.label, paired_difference(winner.scores, entry.scores))
        for entry in board.entries
        if winner and entry.baseline and entry.test.mean > winner.test.mean
    )


def _entry(names: Sequence[str], candidate: Candidate | None, results: Results) -> Entry:
    seeds = results.confirmed(names[0])
    tested = [trial for trial in seeds if trial.test_score is not None]
    candidate = candidate or Candidate(label=names[0], settings=tested[0].settings)
    baselines = {t.label for t in results.trials if t.arm == "baseline"} | {TUNED, PUBLISHED}
    source = (t for t in results.trials if t.trial_id == candidate.source_trial)
    return Entry(
        label=names[0],
        aliases=tuple(names[1:]),
        baseline=not baselines.isdisjoint(names),
        chosen=BEST in names,
        scores={trial.seed: trial.test_score or 0.0 for trial in tested},
        seeds_planned=len(seeds),
        test=estimates(tested, ("score",))["score"],
        parts=estimates(tested, results.parts),
        targets=estimates(tested, results.targets),
        chance=next((trial.chance for trial in tested if trial.chance is not None), None),
        settings=candidate.settings,
        trainable=tested[0].trainable,
        source_trial=candidate.source_trial,
        val_score=candidate.val_score,
        val_base=next((trial.val.get(PARTS[0]) for trial in source), None),
    )


def estimates(
    trials: Iterable[TrialResult], names: Iterable[str], split: Split = "test"
) -> dict[str, Estimate]:
    """Return the means of named scores over trials, without names that no trial has."""
    scores = [trial.scores(split) for trial in trials]
    found = {
        name: [value for named in scores if (value := named.get(name)) is not None]
        for name in names
    }
    return {name: estimate(values) for name, values in found.items() if values}


def compare(scores: Mapping[str, Mapping[int, float]], baseline: str) -> dict[str, Comparison]:
    """Compare all others with a baseline over common seeds, corrected for their number.

    Args:
        scores: the score of each seed, by label.
        baseline: the label of the baseline; without scores of it, nothing is compared.
    """
    base = scores.get(baseline, {})
    paired = {
        label: difference
        for label, values in scores.items()
        if label != baseline and (difference := paired_difference(values, base)) is not None
    }
    corrected = holm([difference.p for difference in paired.values()])
    return {
        label: Comparison(difference, p)
        for (label, difference), p in zip(paired.items(), corrected, strict=True)
    }


def _budget(arm: str, trials: Sequence[TrialResult]) -> ArmBudget:
    status = [trial.status for trial in trials]
    return ArmBudget(
        arm=arm,
        trials=len(trials),
        finished=status.count("finished"),
        stopped=status.count("stopped"),
        failed=status.count("failed"),
        running=status.count("running"),
        epochs=sum(trial.epochs for trial in trials),
        seconds=sum(trial.seconds or 0.0 for trial in trials),
    )


def _check(entries: Sequence[Entry], searched: Sequence[TrialResult]) -> ValidationCheck:
    # Of equal validation scores the first counts as picked, so the chosen candidate comes first.
    ordered = sorted(entries, key=lambda entry: not entry.chosen)
    scored = {entry.label: entry for entry in ordered if entry.val_score is not None}
    validation = {label: entry.val_score or 0.0 for label, entry in scored.items()}
    test = {label: entry.test.mean for label, entry in scored.items()}
    by_base = {entry.label: entry.val_base for entry in entries if entry.val_base is not None}
    pick = max(by_base, key=lambda label: by_base[label], default=None)
    found = {t.trial_id: t.val.get(PARTS[0]) for t in searched if t.status == "finished"}
    trials = {trial_id: base for trial_id, base in found.items() if base is not None}
    best_trial = max(trials, key=lambda trial_id: trials[trial_id], default=None)
    confirmed = pick is not None and best_trial is not None and by_base[pick] >= trials[best_trial]
    return ValidationCheck(
        agreement=rank_agreement(list(validation.values()), list(test.values())),
        regret=regret(validation, test),
        base_pick=pick,
        base_pick_trial=None if confirmed else best_trial,
    )
