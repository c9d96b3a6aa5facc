"""Charts of the results table, whose scores are fractions there and percent here."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any

from study.config.labels import ZERO_SHOT
from study.method.parameters import all_kinds
from study.report.arms import arm_colors, arm_name
from study.report.charts import (
    GREY,
    OTHER_MARKERS,
    WINNER_MARKER,
    Axis,
    Chart,
    Panel,
    Series,
)
from study.report.confusion_tables import confusion_charts
from study.report.importance_chart import importance_chart
from study.report.names import starred_name
from study.results.importance import importances, load_optuna_studies
from study.results.leaderboard import Entry, Leaderboard
from study.results.study_results import BASELINE, OPEN, Results, TrialResult

VALIDATION = Axis("validation score, %")


def make_plots(results: Results, board: Leaderboard) -> tuple[Chart, ...]:
    """Return the charts of a search and its choice, in the order of the report.

    An ablation has those of `ablation_plots` instead: its search tries a few rates for each cell.

    Args:
        results: the results of the study.
        board: its leaderboard.
    """
    if results.ablates:
        return ()
    searched = results.stage("search")
    stopped = Counter(trial.arm for trial in searched if trial.status == "stopped")
    return (
        agreement_chart(board),
        pareto_chart(searched, board),
        rates_chart(searched),
        rungs_chart(searched),
        history_chart(searched),
        *(
            importance_chart(arm, importances(study), arm_colors([arm])[arm], stopped=stopped[arm])
            for arm, study in load_optuna_studies(results).items()
        ),
        *confusion_charts(results, board),
    )


def rates_chart(searched: Sequence[TrialResult]) -> Chart:
    """Draw validation scores against the learning rate of each kind of parameter, and against λ."""
    places = {
        **{
            f"learning rate of {kind.plural}": [
                (trial.settings.rates.get(kind.name), trial) for trial in searched
            ]
            for kind in all_kinds()
        },
        "λ (distillation weight)": [(t.settings.distill_weight or None, t) for t in searched],
    }
    return Chart(
        "learning-rates",
        "Validation score against learning rates and λ",
        "Every search trial at the learning rate of its biases, at that of its LayerNorms and at "
        "its distillation weight, where it has them. Stopped trials show the score at which they "
        "were stopped.",
        tuple(
            Panel(Axis(title, scale="log"), VALIDATION, _by_arm_and_status(placed))
            for title, placed in places.items()
        ),
        otherwise="no search trial has a learning rate and a score yet",
        width=3.9,
    )


def rungs_chart(searched: Sequence[TrialResult]) -> Chart:
    """Draw the learning curves of the search, and how many trials reached each epoch."""
    scored = [trial for trial in searched if trial.curve and trial.proposed]
    colors = _colors(searched)
    curves = tuple(
        Series(
            arm_name(trial.arm),
            list(trial.curve),
            [100 * score for score in trial.curve.values()],
            style="line",
            color=colors[trial.arm],
            opacity=0.45,
        )
        for trial in scored
    )
    epoch = Axis("epoch", scale="count")
    last = {arm: [max(trial.curve) for trial in scored if trial.arm == arm] for arm in colors}
    survivors = tuple(
        Series(
            arm_name(arm),
            epochs := range(1, max(ends, default=0) + 1),
            [sum(end >= number for end in ends) for number in epochs],
            style="step",
            color=colors[arm],
        )
        for arm, ends in last.items()
    )
    return Chart(
        "rungs",
        "Early stopping",
        "Left, the validation score of each trial over its epochs. Right, how many trials "
        "reached an epoch: after some epochs the weaker ones are stopped (successive halving).",
        (
            Panel(epoch, VALIDATION, curves, "Learning curves"),
            Panel(epoch, Axis("trials", scale="count"), survivors, "Trials that reached it"),
        ),
        otherwise="no search trial has reported an epoch yet",
    )


def history_chart(searched: Sequence[TrialResult]) -> Chart:
    """Draw the scores of each arm's finished trials in their order, and the best so far."""
    series = []
    for arm, color in _colors(searched).items():
        trials = [t for t in searched if t.arm == arm and t.proposed and t.status == "finished"]
        name = arm_name(arm)
        placed = [(trial.number, trial) for trial in trials]
        scores = _series(name, placed, color=color, opacity=0.7)
        best = list(accumulate(scores.y, max))
        series += [
            scores,
            Series(f"{name}, best so far", scores.x, best, style="step", color=color),
        ]
    return Chart(
        "history",
        "Optimisation history",
        "Validation score of each finished trial by its number, and the best of its part of the "
        "search up to then. Stopped trials are left out.",
        (Panel(Axis("number of the trial", scale="count"), VALIDATION, tuple(series)),),
        otherwise="no search trial is complete yet",
        width=7.0,
    )


def pareto_chart(searched: Sequence[TrialResult], board: Leaderboard) -> Chart:
    """Draw scores against trainable parameters: trials on validation, candidates on test."""
    trials = _by_arm_and_status(
        [(t.trainable or None if t.status == "finished" else None, t) for t in searched]
    )
    front = pareto_front(point for one in trials for point in zip(one.x, one.y, strict=True))
    tuned = [entry for entry in board.entries if entry.trainable]
    zero_shot = board.entry(ZERO_SHOT)
    trainable = Axis("trainable parameters", scale="log")
    return Chart(
        "pareto",
        "Score against trainable parameters",
        "Left, finished search trials on validation, and the line joins the best scores "
        "for their size. Right, tested candidates, with 95 % intervals, in the colours of the "
        "parts of the search that they come from; ★ is the winner.",
        (
            Panel(
                trainable,
                VALIDATION,
                (
                    *trials,
                    Series(
                        "front",
                        [cost for cost, _ in front],
                        [score for _, score in front],
                        style="step",
                        color=GREY,
                    ),
                ),
                "Search, on validation",
            ),
            Panel(
                trainable,
                Axis(
                    f"test {board.metric}, %",
                    line=100 * zero_shot.test.mean if zero_shot else None,
                ),
                _by_entry(board, tuned, [entry.trainable for entry in tuned]),
                "Candidates, on test (dotted: zero-shot)" if zero_shot else "On test",
            ),
        ),
        otherwise="no trial has finished yet",
    )


def agreement_chart(board: Leaderboard) -> Chart:
    """Draw the test score of each confirmed candidate against its validation score."""
    scored = [entry for entry in board.entries if entry.val_score is not None]
    tuned = [entry for entry in scored if entry.trainable]
    # Zero-shot often scores far lower and squeezes the others into a corner.
    again = {"Without zero-shot": tuned} if 2 < len(tuned) < len(scored) else {}
    return Chart(
        "agreement",
        "Validation against test",
        "Each candidate once: the score it was selected by, and its test score with a 95 % "
        "interval, in the colour of the part of the search that it comes from. A rising cloud "
        "means that validation ranked well; ★ is the winner.",
        tuple(
            Panel(
                VALIDATION,
                Axis(f"test {board.metric}, %"),
                _by_entry(board, entries, [100 * (entry.val_score or 0.0) for entry in entries]),
                title,
            )
            for title, entries in {"All candidates": scored, **again}.items()
        ),
        otherwise="no candidate is confirmed on test yet",
    )


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the Pareto front: the points that no other beats at the same or less cost.

    Args:
        points: pairs (cost, score); less cost and more score are better.

    Returns:
        The front, by rising cost.
    """
    ordered = sorted(points, key=lambda point: (point[0], -point[1]))
    best_before = accumulate((score for _, score in ordered), max, initial=-inf)
    return [point for point, best in zip(ordered, best_before, strict=False) if point[1] > best]


def _colors(searched: Iterable[TrialResult]) -> Mapping[str, str]:
    return arm_colors(trial.arm for trial in searched)


def _by_arm_and_status(
    placed: Sequence[tuple[float | None, TrialResult]],
) -> tuple[Series, ...]:
    return tuple(
        _series(
            f"{arm_name(arm)}, {status}",
            [(x, trial) for x, trial in placed if (trial.arm, trial.status) == (arm, status)],
            marker=marker,
            color=color,
            opacity=opacity,
        )
        for arm, color in _colors(trial for _, trial in placed).items()
        for status, marker, opacity in (("finished", "circle", 0.85), ("stopped", "x", 0.6))
    )


def _series(name: str, placed: Sequence[tuple[float | None, TrialResult]], **looks: Any) -> Series:
    """Return the validation scores of the trials that have one and, before them, an x."""
    shown = [
        (x, 100 * score)
        for x, trial in placed
        if x is not None and (score := trial.val_score) is not None
    ]
    return Series(
        name,
        [x for x, _ in shown],
        [score for _, score in shown],
        **looks,
    )


def _by_entry(
    board: Leaderboard, entries: Sequence[Entry], x: Sequence[float]
) -> tuple[Series, ...]:
    # One series per candidate, named in the legend, since names beside the points would overlap.
    arms = {trial.trial_id: trial.arm for trial in board.stage("search")}
    known = arm_colors([*arms.values(), BASELINE, OPEN])
    colors = [
        known[arms.get(e.source_trial or "", BASELINE if e.baseline else OPEN)] for e in entries
    ]
    return tuple(
        Series(
            starred_name(board, entry),
            [place],
            [100 * entry.test.mean],
            marker=WINNER_MARKER
            if entry.winner
            else OTHER_MARKERS[colors[:index].count(color) % len(OTHER_MARKERS)],
            color=color,
            y_error=[100 * (entry.test.half_width or 0.0)],
        )
        for index, (entry, place, color) in enumerate(zip(entries, x, colors, strict=True))
    )
