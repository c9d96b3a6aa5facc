"""The results of the confirm stage: candidates on test, each compared with the baselines.

Nothing is selected here: the winner is the candidate that validation chose before test images were
read, unless its test score is no better than guessing.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from study.analysis.results import (
    open_study,
    read_candidates,
    read_earlier_choices,
    read_results,
    target_columns,
)
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
from study.trial.confusion import beats_chance

PUBLISHED = "clipfit"
TUNED = "clipfit-tuned"
BEST = "best"
ZERO_SHOT = "zero-shot"

Row = Mapping[str, Any]
"""A row of the results table, or of the table of epochs."""


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline over common seeds."""

    paired: PairedDifference
    """The difference, its interval and p over the common seeds."""
    holm_p: float | None
    """The p after Holm's correction for all comparisons with the same baseline."""


@dataclass(frozen=True)
class Entry:
    """One confirmed candidate; scores are fractions."""

    label: str
    """The candidate's name in the ledger."""
    aliases: tuple[str, ...]
    """The names of candidates with the same configuration, which were not trained again."""
    baseline: bool
    """Whether the candidate is a baseline, and not a result of the search."""
    chosen: bool
    """Whether validation chose the candidate, before any test image was read."""
    scores: Mapping[int, float]
    """The test score of each seed."""
    seeds_planned: int
    """The number of the candidate's confirm trials, with or without a test score."""
    test: Estimate
    """The protocol's score on test: accuracy, or the harmonic mean of base and new."""
    base: Estimate | None
    """The accuracy on base classes; None unless the protocol is base-to-new."""
    new: Estimate | None
    """The accuracy on new classes; None unless the protocol is base-to-new."""
    targets: Mapping[str, Estimate]
    """The accuracy on each dataset, where several are tested; else empty.

    `test` is then their mean, in the transfer protocol without the source.
    """
    chance: float | None
    """The test score of always naming the largest class; None if no trial kept class counts."""
    subset: str | None
    """The tuned parameters, in the subset language."""
    bias_lr: float | None
    """The learning rate of biases."""
    ln_lr: float | None
    """The learning rate of LayerNorms."""
    distill_weight: float | None
    """λ, the weight of the distillation loss."""
    trainable: int | None
    """The number of trainable parameters."""
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
class Failure:
    """A trial that failed."""

    trial_id: str
    epochs: int
    """The number of completed epochs."""
    cause: str


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
    base_to_new: bool
    """Whether test scores are harmonic means of base and new accuracy."""
    entries: tuple[Entry, ...]
    """The candidates with at least one test score."""
    arms: tuple[ArmBudget, ...]
    """The budgets of the search's arms, in the order of their names."""
    check: ValidationCheck
    """How well validation ranked the candidates."""
    untested: tuple[str, ...]
    """The labels of candidates without any test score."""
    failures: tuple[Failure, ...] = ()
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


def leaderboard(folder: Path) -> Leaderboard:
    """Read the confirmed candidates of a study and compare them with the baselines.

    Args:
        folder: the study's folder, `runs/NAME`.

    Returns:
        The leaderboard; it has no entries while nothing is confirmed.

    Raises:
        DataError: the folder holds no ledger.
        LedgerError: a file of it is damaged.
    """
    rows = read_results(folder).to_pylist()
    candidates = {str(candidate["label"]): candidate for candidate in read_candidates(folder)}
    confirmed = [row for row in rows if row["stage"] == "confirm"]
    # Equal configurations are trained once and share an entry, or they would be compared twice.
    same = {label: c["same_as"] for label, c in candidates.items() if c.get("same_as")}
    labels = [
        label
        for label in dict.fromkeys([*candidates, *(row["label"] for row in confirmed)])
        if label not in same
    ]
    baselines = {row["label"] for row in rows if row["arm"] == "baseline"} | {TUNED, PUBLISHED}
    by_id = {row["trial_id"]: row for row in rows}
    entries = []
    for label in labels:
        seeds = [row for row in confirmed if row["label"] == label]
        if any(row["test_score"] is not None for row in seeds):
            names = (label, *(alias for alias, original in same.items() if original == label))
            entries.append(_entry(names, seeds, candidates.get(label, {}), by_id, baselines))
    tuned = _compare(entries, same.get(TUNED, TUNED))
    published = _compare(entries, same.get(PUBLISHED, PUBLISHED))
    entries = [
        replace(
            entry,
            versus_tuned=tuned.get(entry.label),
            versus_published=published.get(entry.label),
        )
        for entry in entries
    ]
    entries.sort(key=lambda entry: -entry.test.mean)
    shown = {entry.label for entry in entries}
    return Leaderboard(
        study=open_study(folder).name,
        base_to_new=is_base_to_new(rows),
        entries=tuple(entries),
        arms=_budgets(rows),
        check=_check(entries, rows),
        untested=tuple(label for label in labels if label not in shown),
        failures=tuple(
            Failure(row["trial_id"], row["epochs"], row["reason"] or "")
            for row in rows
            if row["status"] == "failed"
        ),
        chosen_before=read_earlier_choices(folder),
    )


def is_base_to_new(rows: Sequence[Row]) -> bool:
    """Return whether rows of the results table are of the base-to-new protocol."""
    return any(row["val_base"] is not None or row["test_base"] is not None for row in rows)


def below_baselines(board: Leaderboard) -> tuple[tuple[str, PairedDifference | None], ...]:
    """Return the baselines with a higher mean test score than the winner, and `winner - baseline`.

    Returns:
        Pairs of label and difference; the difference is None without a common seed.
    """
    winner = board.winner
    if winner is None:
        return ()
    return tuple(
        (entry.label, paired_difference(winner.scores, entry.scores))
        for entry in board.entries
        if entry.baseline and entry.test.mean > winner.test.mean
    )


def _entry(
    names: Sequence[str],
    seeds: Sequence[Row],
    candidate: Row,
    by_id: Mapping[str, Row],
    baselines: Set[str],
) -> Entry:
    tested = [row for row in seeds if row["test_score"] is not None]
    source = by_id.get(candidate.get("source_trial") or "")
    return Entry(
        label=names[0],
        aliases=tuple(names[1:]),
        baseline=not baselines.isdisjoint(names),
        chosen=BEST in names,
        scores={row["seed"]: row["test_score"] for row in tested},
        seeds_planned=len(seeds),
        test=estimate([row["test_score"] for row in tested]),
        base=_optional_estimate([row["test_base"] for row in tested]),
        new=_optional_estimate([row["test_new"] for row in tested]),
        targets=_target_estimates(tested),
        chance=next((row["chance"] for row in tested if row["chance"] is not None), None),
        **{
            name: candidate.get(name, tested[0][name])
            for name in ("subset", "bias_lr", "ln_lr", "distill_weight", "trainable")
        },
        source_trial=candidate.get("source_trial"),
        val_score=candidate.get("val_score"),
        val_base=None if source is None else source["val_base"],
    )


def _target_estimates(tested: Sequence[Row]) -> dict[str, Estimate]:
    columns = target_columns(tested[0])
    found = {name: _optional_estimate([row[name] for row in tested]) for name in columns}
    return {name.removeprefix("test_"): e for name, e in found.items() if e is not None}


def _optional_estimate(values: Sequence[float | None]) -> Estimate | None:
    present = [value for value in values if value is not None]
    return estimate(present) if present else None


def _compare(entries: Sequence[Entry], baseline: str) -> dict[str, Comparison]:
    base = next((entry for entry in entries if entry.label == baseline), None)
    if base is None:
        return {}
    paired = {
        entry.label: difference
        for entry in entries
        if entry.label != baseline
        and (difference := paired_difference(entry.scores, base.scores)) is not None
    }
    corrected = holm([difference.p for difference in paired.values()])
    return {
        label: Comparison(difference, p)
        for (label, difference), p in zip(paired.items(), corrected, strict=True)
    }


def _budgets(rows: Sequence[Row]) -> tuple[ArmBudget, ...]:
    searched = [row for row in rows if row["stage"] == "search"]
    return tuple(
        _budget(arm, [row for row in searched if row["arm"] == arm])
        for arm in sorted({row["arm"] for row in searched})
    )


def _budget(arm: str, rows: Sequence[Row]) -> ArmBudget:
    status = [row["status"] for row in rows]
    return ArmBudget(
        arm=arm,
        trials=len(rows),
        finished=status.count("finished"),
        stopped=status.count("stopped"),
        failed=status.count("failed"),
        running=status.count("running"),
        epochs=sum(row["epochs"] for row in rows),
        seconds=sum(row["seconds"] or 0.0 for row in rows),
    )


def _check(entries: Sequence[Entry], rows: Sequence[Row]) -> ValidationCheck:
    # Of equal validation scores the first counts as picked, so the chosen candidate comes first.
    ordered = sorted(entries, key=lambda entry: not entry.chosen)
    scored = {entry.label: entry for entry in ordered if entry.val_score is not None}
    validation = {label: entry.val_score or 0.0 for label, entry in scored.items()}
    test = {label: entry.test.mean for label, entry in scored.items()}
    by_base = [entry for entry in entries if entry.val_base is not None]
    pick = max(by_base, key=lambda entry: entry.val_base or 0.0, default=None)
    searched = [
        row
        for row in rows
        if row["stage"] == "search" and row["status"] == "finished" and row["val_base"] is not None
    ]
    best_trial = max(searched, key=lambda row: row["val_base"], default=None)
    confirmed = pick is not None and (
        best_trial is None or (pick.val_base or 0.0) >= best_trial["val_base"]
    )
    return ValidationCheck(
        agreement=rank_agreement(list(validation.values()), list(test.values())),
        regret=regret(validation, test),
        base_pick=None if pick is None else pick.label,
        base_pick_trial=None if best_trial is None or confirmed else best_trial["trial_id"],
    )
