"""What the confirm stage found: candidates on test, each against the baselines.

Nothing here selects: the winner is the candidate that validation chose before test was read, unless
it is no better there than guessing.
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


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline over common seeds.

    Attributes:
        paired: difference, interval and p over the common seeds.
        holm_p: p corrected for all comparisons with the same baseline.
    """

    paired: PairedDifference
    holm_p: float | None


@dataclass(frozen=True)
class Entry:
    """One confirmed candidate; scores are fractions.

    Attributes:
        label: the candidate's name in the ledger.
        aliases: names of candidates with the same configuration, which were not trained again.
        baseline: whether it stands for what is to be beaten, not for what the search found.
        chosen: whether validation chose it, before any test image was read.
        scores: test score per seed.
        seeds_planned: confirm trials of this candidate, whatever became of them.
        test: the protocol's one number (accuracy, or harmonic mean of base and new) on test.
        base: accuracy on base classes; None in the few-shot protocol.
        new: accuracy on new classes; None in the few-shot protocol.
        targets: accuracy on each dataset, where several are tested; then `test` is their mean, in
            the transfer protocol without the source's own.
        chance: what always naming the largest class would score on test; None where no trial kept
            its counts of classes.
        val_score: validation score by which candidates were ranked.
        val_base: accuracy on base validation images of the trial the candidate came from.
        versus_tuned: against CLIPFit with tuned learning rates; None for that baseline itself.
        versus_published: against CLIPFit as published; None for that baseline itself.
    """

    label: str
    aliases: tuple[str, ...]
    baseline: bool
    chosen: bool
    scores: Mapping[int, float]
    seeds_planned: int
    test: Estimate
    base: Estimate | None
    new: Estimate | None
    targets: Mapping[str, Estimate]
    chance: float | None
    subset: str | None
    bias_lr: float | None
    ln_lr: float | None
    distill_weight: float | None
    trainable: int | None
    source_trial: str | None
    val_score: float | None
    val_base: float | None
    versus_tuned: Comparison | None = None
    versus_published: Comparison | None = None

    @property
    def above_chance(self) -> bool:
        """Whether the mean test score is above chance."""
        return beats_chance(self.test.mean, self.chance)

    @property
    def winner(self) -> bool:
        """Whether validation chose it, and it is above chance on test."""
        return self.chosen and self.above_chance

    @property
    def name(self) -> str:
        """The label, and the baselines or ranks that turned out to be the same configuration."""
        return " = ".join((self.label, *(alias for alias in self.aliases if alias != BEST)))


@dataclass(frozen=True)
class ArmBudget:
    """What one arm of the search spent: trials by status, epochs run, seconds of trials."""

    arm: str
    trials: int
    finished: int
    stopped: int
    failed: int
    running: int
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A trial that failed, after so many epochs."""

    trial_id: str
    epochs: int
    cause: str


@dataclass(frozen=True)
class ValidationCheck:
    """How well validation ranked what was tested.

    Attributes:
        agreement: Spearman's rho of validation against mean test score over the candidates.
        regret: what picking by validation cost on test among the candidates.
        base_pick: label that base validation alone would have picked among the candidates.
        base_pick_trial: search trial with the highest base validation when no candidate came
            from it, so that its test score is unknown.
    """

    agreement: RankAgreement | None
    regret: Regret | None
    base_pick: str | None
    base_pick_trial: str | None


@dataclass(frozen=True)
class Leaderboard:
    """The confirmed candidates of a study, best mean test score first.

    Attributes:
        study: name of the study.
        base_to_new: whether test scores are harmonic means of base and new accuracy.
        entries: candidates with at least one test score.
        arms: budgets of the search, in the order of their names.
        check: how well validation ranked the candidates.
        untested: labels of candidates without any test score.
        failures: trials of any stage that failed.
        chosen_before: trials of the search from which a choice was made and tested before the
            search was extended, the oldest first.
    """

    study: str
    base_to_new: bool
    entries: tuple[Entry, ...]
    arms: tuple[ArmBudget, ...]
    check: ValidationCheck
    untested: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    chosen_before: tuple[int, ...] = ()

    @property
    def chance(self) -> float | None:
        """What always naming the largest class would score; all have the same test images."""
        return next((entry.chance for entry in self.entries if entry.chance is not None), None)

    @property
    def chosen(self) -> Entry | None:
        """The candidate that validation chose, which need not be the first entry."""
        return next((entry for entry in self.entries if entry.chosen), None)

    @property
    def winner(self) -> Entry | None:
        """The chosen candidate, where it is above chance."""
        return next((entry for entry in self.entries if entry.winner), None)

    @property
    def searched(self) -> bool:
        """Whether there was a search to choose from."""
        return bool(self.arms)

    @property
    def targets(self) -> tuple[str, ...]:
        """The datasets tested, where there are several."""
        return tuple(dict.fromkeys(name for entry in self.entries for name in entry.targets))

    def entry(self, label: str) -> Entry | None:
        """The candidate called `label`, also where it was tested under another name."""
        return next((e for e in self.entries if label in (e.label, *e.aliases)), None)


def leaderboard(folder: Path) -> Leaderboard:
    """Read the confirmed candidates of a study and compare them with the baselines.

    Args:
        folder: the study's folder, `runs/NAME`.

    Returns:
        The leaderboard; without entries while nothing is confirmed.

    Raises:
        DataError: the folder holds no ledger.
        LedgerError: a file of it is damaged.
    """
    rows = read_results(folder).to_pylist()
    candidates = {str(candidate["label"]): candidate for candidate in read_candidates(folder)}
    confirmed = [row for row in rows if row["stage"] == "confirm"]
    # An equal configuration is trained once: one entry, or it would be compared twice.
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
    """Whether rows of the results table are of the base-to-new protocol."""
    return any(row["val_base"] is not None or row["test_base"] is not None for row in rows)


def below_baselines(board: Leaderboard) -> tuple[tuple[str, PairedDifference | None], ...]:
    """Baselines whose mean test score is above the winner's, with `winner - baseline`."""
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
    # Among equal validation scores the first is the one that was chosen.
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
