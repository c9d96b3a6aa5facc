"""The results of the confirm stage: candidates on test, each compared with the baselines.

Nothing is selected here: the winner is the candidate that validation chose before test images were
read, unless its test score is no better than guessing. The verdict, and the tables for terminal,
Markdown and CSV, follow from the comparison.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd
from rich.console import Group
from rich.text import Text

from study.analysis.formatting import (
    Table,
    comparison_cells,
    comparison_columns,
    count,
    duration,
    estimate_columns,
    guessing,
    interval,
    judgement,
    markdown_text,
    percent,
    probability,
    score_cells,
    score_header,
    setting_cells,
    setting_header,
    spelt,
)
from study.analysis.results import PARTS, Results, TrialResult
from study.analysis.statistics import (
    Comparison,
    Estimate,
    PairedDifference,
    RankAgreement,
    Regret,
    compare,
    estimate,
    paired_difference,
    rank_agreement,
    regret,
)
from study.config.schema import TUNED, ZERO_SHOT
from study.config.settings import Settings, settings_columns
from study.storage.atomic import write_atomically
from study.trial import Split
from study.trial.predictions import beats_chance
from study.trial.study import BEST, Candidate

PUBLISHED = "clipfit"
NAMES = {TUNED: "tuned CLIPFit", PUBLISHED: "CLIPFit as published"}
"""The baselines that candidates are compared with, as sentences call them."""
STATES = ("finished", "stopped", "failed", "running")
"""How a trial may have ended, or not yet."""


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
    versus: Mapping[str, Comparison | None] = field(default_factory=dict)
    """The differences to CLIPFit with tuned learning rates and as published, by their labels.

    The difference is None for that baseline itself.
    """

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
class Leaderboard(Results):
    """The results of a study, with the comparison of its confirmed candidates."""

    entries: tuple[Entry, ...]
    """The candidates with at least one test score, best mean first."""
    untested: tuple[str, ...]
    """The labels of candidates without any test score."""
    failures: tuple[TrialResult, ...]
    """The failed trials of all stages."""

    @cached_property
    def arms(self) -> tuple[Any, ...]:
        """What each `arm` of the search spent, in the order of their names.

        That is the number of its `trials`, and of those in each of the `STATES`, and the `epochs`
        and `seconds` of all of them together.
        """
        trials = pd.DataFrame(
            [(t.arm, t.status, t.epochs, t.seconds or 0.0) for t in self.stage("search")],
            columns=["arm", "status", "epochs", "seconds"],
        )
        ended = pd.crosstab(trials["arm"], trials["status"]).reindex(columns=STATES, fill_value=0)
        spent = trials.groupby("arm").agg(
            trials=("status", "size"), epochs=("epochs", "sum"), seconds=("seconds", "sum")
        )
        return tuple(spent.join(ended).reset_index().itertuples(name="ArmBudget", index=False))

    @cached_property
    def check(self) -> ValidationCheck:
        """How well validation ranked the candidates."""
        # Of equal validation scores the first counts as picked, so the chosen one comes first.
        ranked = sorted(self.entries, key=lambda entry: not entry.chosen)
        validation = {e.label: e.val_score for e in ranked if e.val_score is not None}
        test = {entry.label: entry.test.mean for entry in ranked if entry.label in validation}
        candidates = {e.label: e.val_base for e in self.entries if e.val_base is not None}
        trials = {
            trial.trial_id: base
            for trial in self.stage("search")
            if trial.status == "finished" and (base := trial.val.get(PARTS[0])) is not None
        }
        pick, trial = (max(by, key=by.__getitem__, default=None) for by in (candidates, trials))
        confirmed = pick is not None and trial is not None and candidates[pick] >= trials[trial]
        return ValidationCheck(
            agreement=rank_agreement(list(validation.values()), list(test.values())),
            regret=regret(validation, test),
            base_pick=pick,
            base_pick_trial=None if confirmed else trial,
        )

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
        return bool(self.stage("search"))

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the datasets with a score, where several are tested; else empty."""
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
    known = [*candidates, *(trial.label for trial in results.stage("confirm"))]
    labels = [label for label in dict.fromkeys(known) if label not in same]
    tested = {
        label: _entry(
            (label, *(a for a in same if same[a] == label)), candidates.get(label), results
        )
        for label in labels
        if any(trial.test_score is not None for trial in results.confirmed(label))
    }
    scores = {label: entry.scores for label, entry in tested.items()}
    versus = {baseline: compare(scores, same.get(baseline, baseline)) for baseline in NAMES}
    return Leaderboard(
        **vars(results),
        entries=tuple(
            replace(entry, versus={baseline: d.get(label) for baseline, d in versus.items()})
            for label, entry in sorted(tested.items(), key=lambda pair: -pair[1].test.mean)
        ),
        untested=tuple(label for label in labels if label not in tested),
        failures=tuple(trial for trial in results.trials if trial.status == "failed"),
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
    baselines = {*NAMES, *(t.label for t in results.trials if t.arm == "baseline")}
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
        val_base=next(
            (t.val.get(PARTS[0]) for t in results.trials if t.trial_id == candidate.source_trial),
            None,
        ),
    )


def estimates(
    trials: Sequence[TrialResult], names: Iterable[str], split: Split = "test"
) -> dict[str, Estimate]:
    """Return the means of named scores over trials, without names that no trial has."""
    return {
        name: estimate(values)
        for name in names
        if (values := [v for t in trials if (v := t.scores(split).get(name)) is not None])
    }


def verdict(board: Leaderboard) -> tuple[str, ...]:
    """Return what a study found, in sentences that claim no more than the intervals allow."""
    metric = (
        f"harmonic mean of {' and '.join(board.parts)} accuracy" if board.parts else board.metric
    )
    chosen, winner = board.chosen, board.winner
    chance = guessing(board.chance, getattr(board.entry(ZERO_SHOT), "test", None))
    if board.entries and not board.searched:
        tested = ", ".join(f"“{entry.name}” {interval(entry.test)} %" for entry in board.entries)
        mean = f"mean {metric} over the datasets" if board.targets else metric
        return f"Nothing was searched; configurations tested as given, {mean}: {tested}.", *chance
    if chosen is None:
        return "Nothing is confirmed on test yet, so there is no winner to judge.", *chance
    top = board.entries[0]
    return (
        f"Validation chose “{chosen.name}” ({chosen.settings.subset}): "
        f"{interval(chosen.test)} % {metric} on test over {seed_count(len(chosen.scores))}.",
        *chance,
        *(
            _judgements(board, winner)
            if winner
            else [
                f"The choice does not beat chance ({percent(chosen.test.mean)} % against "
                f"{percent(chosen.chance)} %), so there is no winner."
            ]
        ),
        *([] if top.above_chance else ["Nothing that was tested beats chance."]),
        *(
            [
                f"“{top.name}” has the highest test mean ({interval(top.test)} %), but validation "
                "did not choose it; taking it now would be selecting on test."
            ]
            if top.above_chance and top.test.mean > chosen.test.mean
            else []
        ),
    )


def _judgements(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield sentences that compare the winner with the baselines."""
    if winner.baseline:
        yield "That is a baseline: the search found nothing that validated better."
    compared = set()
    for baseline, comparison in winner.versus.items():
        entry = board.entry(baseline)
        if entry is None:
            yield (
                f"{NAMES[baseline][0].upper()}{NAMES[baseline][1:]} has no test score, so the "
                "winner cannot be compared with it."
            )
        elif comparison is not None and entry.label not in compared:
            compared.add(entry.label)
            yield (
                f"Against {NAMES[baseline]}: {spelt(comparison.paired.difference)}, over "
                f"{seed_count(len(comparison.paired.seeds))} in common, Holm-corrected p "
                f"{probability(comparison.holm_p)}: {judgement(comparison)}."
            )
    for label, paired in below_baselines(board):
        size = "" if paired is None or label in compared else f", {spelt(paired.difference)}"
        yield (
            f"The winner’s mean is below the baseline “{label}”{size}: "
            f"{'within' if paired is None or paired.within_noise else 'beyond'} noise."
        )


def validation_findings(board: Leaderboard) -> tuple[str, ...]:
    """Return sentences on how well validation ranked, and what base classes alone would pick."""
    check = board.check
    agreement, regret, pick = check.agreement, check.regret, board.entry(check.base_pick or "")
    if board.entries and not board.searched:
        return ("There was no choice to make, so validation images were not looked at.",)
    sentences = (
        f"Validation against test over {agreement.n} candidates: Spearman’s rho "
        f"{agreement.rho:+.2f} (p {probability(agreement.p)}).".replace("-", "−")
        if agreement
        else "Too few distinct candidates to say how well validation ranked test scores.",
        "The candidate with the best validation score was also best on test."
        if regret and not regret.loss
        else "",
        f"The best candidate by validation, “{regret.picked}”, is {percent(regret.loss)} points "
        f"below the best on test, “{regret.best}” (means over seeds)."
        if regret and regret.loss
        else "",
        f"Among the candidates, base validation alone would have picked “{pick.label}” "
        f"({interval(pick.test)} % on test){' – the same candidate' if pick.chosen else ''}."
        if pick
        else "",
        f"Over the whole search, base validation alone would have picked trial "
        f"{check.base_pick_trial}, which was not confirmed: its test score is unknown."
        if check.base_pick_trial
        else "",
    )
    return tuple(filter(None, sentences))


def seed_count(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"


def main_table(board: Leaderboard) -> Table:
    """Return the test scores in percent, and the differences to both baselines in points."""
    return Table(
        f"{board.folder.name}: test {board.metric}"
        + (f" of {' and '.join(board.parts)} accuracy" if board.parts else ""),
        [
            "candidate",
            *score_header(board.parts, board.metric if board.parts else "test"),
            *("seeds", "Δ tuned CLIPFit", "p", "Δ published", "p"),
        ],
        [
            [
                _name(entry),
                *score_cells(board.parts, entry.parts, entry.test),
                f"{len(entry.scores)}/{entry.seeds_planned}"
                if len(entry.scores) < entry.seeds_planned
                else len(entry.scores),
                *(cell for found in entry.versus.values() for cell in comparison_cells(found)),
            ]
            for entry in board.entries
        ],
        marked=_winner_row(board),
        note=footnote(board),
    )


def configuration_table(board: Leaderboard) -> Table:
    """Return the candidates' configurations and validation scores."""
    return Table(
        "Configurations",
        ["candidate", "subset", *setting_header(), "trainable", "val %"],
        [
            [
                _name(entry),
                entry.settings.subset,
                *setting_cells(entry.settings, entry.trainable),
                count(entry.trainable),
                percent(entry.val_score),
            ]
            for entry in board.entries
        ],
        left=2,
        marked=_winner_row(board),
    )


def target_table(board: Leaderboard) -> Table:
    """Return accuracies in percent: datasets by candidates."""
    return Table(
        "Accuracy by dataset",
        ["dataset", *(_name(entry) for entry in board.entries)],
        [
            [target, *(interval(entry.targets.get(target)) for entry in board.entries)]
            for target in board.targets
        ],
    )


def budget_table(board: Leaderboard) -> Table:
    """Return what each arm spent; “busy” adds up its trials' durations."""
    return Table(
        "Search budgets",
        ["search arm", "trials", *STATES, "epochs", "busy"],
        [
            [
                *(arm.arm, arm.trials, *(getattr(arm, state) for state in STATES)),
                *(count(arm.epochs), duration(arm.seconds)),
            ]
            for arm in board.arms
        ],
    )


def failure_table(board: Leaderboard) -> Table:
    """Return the last failed trials, with their causes."""
    rows = [[trial.trial_id, trial.epochs, trial.reason or ""] for trial in board.failures[-10:]]
    if more := len(board.failures) - len(rows):
        rows.append([f"and {more} before", "", "see the report"])
    return Table("Failures", ["failed trial", "epochs", "cause"], rows, left=3)


def footnote(board: Leaderboard) -> str:
    """Return the note on what the numbers mean and what their intervals leave out."""
    before = " and ".join(map(str, board.chosen_before))
    chosen = (
        f"by validation alone, in a search that was extended after its choice from {before} trials "
        "had been tested; what was chosen then and is not now has its number of trials in its name."
        if before
        else "by validation, before test was read."
    )
    return (
        f"{'★ chosen' if board.winner else 'The choice was made'} {chosen} ± and [ ] are 95 % t "
        "intervals over seeds, each with its own training shots; they do not cover the choice of "
        "test images. Δ are paired differences in percentage points over common seeds; p is "
        "Holm-corrected over the comparisons of its column."
        + (f" Without a test score yet: {', '.join(board.untested)}." if board.untested else "")
    )


def render(board: Leaderboard) -> Group:
    """Return the leaderboard as rich tables that fit 100 columns, with its findings."""
    main = main_table(board)
    # One table with all columns would be wider than 100 columns.
    halves = main.split(3 + len(board.parts), f"Differences of {board.metric}")
    tables = (
        *(halves if board.parts else (main,)),
        target_table(board),
        configuration_table(board),
        budget_table(board),
        failure_table(board),
    )
    return Group(
        *(table for table in tables if table.rows),
        *(Text(sentence) for sentence in verdict(board) + validation_findings(board)),
        *([Text(main.note, style="dim")] if board.entries else ()),
    )


def to_markdown(board: Leaderboard) -> str:
    """Return the leaderboard as Markdown: verdict, tables, notes."""
    scores = (replace(main_table(board), title=""), target_table(board), configuration_table(board))
    blocks = (
        f"# {markdown_text(board.folder.name)}",
        markdown_text(" ".join(verdict(board))),
        *(table.markdown() for table in scores if table.rows),
        *(
            ["## How far to trust validation", markdown_text(" ".join(validation_findings(board)))]
            if board.entries
            else []
        ),
        *(table.markdown() for table in (budget_table(board), failure_table(board)) if table.rows),
    )
    return "\n\n".join(blocks) + "\n"


def to_csv(board: Leaderboard) -> str:
    """Return the leaderboard as CSV: fractions in full precision, one row per candidate."""
    return Table(
        "",
        list(_record(board, None)),
        [list(_record(board, entry).values()) for entry in board.entries],
    ).csv()


def write_leaderboard(board: Leaderboard) -> None:
    """Write `leaderboard.csv` and `leaderboard.md` into the study's folder."""
    write_atomically(board.folder.path / "leaderboard.csv", to_csv(board))
    write_atomically(board.folder.path / "leaderboard.md", to_markdown(board))


def _name(entry: Entry) -> str:
    return f"{entry.name} ★" if entry.winner else entry.name


def _winner_row(board: Leaderboard) -> int | None:
    return next((index for index, entry in enumerate(board.entries) if entry.winner), None)


def _record(board: Leaderboard, entry: Entry | None) -> dict[str, object]:
    """Return the row of a candidate; None gives the same columns without values."""
    values = vars(entry) if entry else {}
    parts, targets, versus = (values.get(name, {}) for name in ("parts", "targets", "versus"))
    return {
        "label": values.get("label"),
        "winner": entry and entry.winner,
        **(entry.settings.flat() if entry else dict.fromkeys(settings_columns())),
        **{
            name: values.get(name)
            for name in ("trainable", "source_trial", "val_score", "val_base")
        },
        "seeds": len(values.get("scores", ())),
        "chance": board.chance,
        **estimate_columns(
            {
                "test": values.get("test"),
                **{part: parts.get(part) for part in (*PARTS, *board.parts)},
                **{target: targets.get(target) for target in board.targets},
            }
        ),
        **comparison_columns("versus_tuned", versus.get(TUNED), "versus_tuned_"),
        **comparison_columns("versus_published", versus.get(PUBLISHED), "versus_published_"),
    }
