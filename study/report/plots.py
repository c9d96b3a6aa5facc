"""The charts of a search and of its tested candidates; scores are drawn in percent."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf
from typing import Any

from study.config.labels import BASELINE, OPEN, ZERO_SHOT
from study.method.parameters import list_kinds
from study.report.charts import (
    GREY,
    OTHER_MARKERS,
    WINNER_MARKER,
    Axis,
    Chart,
    Panel,
    Series,
)
from study.report.confusion_tables import confusion_charts, recall_chart
from study.report.groups import group_colors, group_name
from study.report.importance_chart import importance_chart
from study.report.names import starred_name
from study.report.opening_charts import scores_chart, tuned_chart
from study.results.importance import importances, load_open_search
from study.results.rows import Row
from study.results.study_result import StudyResult
from study.results.trial_results import TrialResult

VALIDATION_AXIS = Axis("validation score, %")
_STATUS_STYLES = {
    "finished": {"marker": "circle", "opacity": 0.85},
    "stopped": {"marker": "x", "opacity": 0.6},
}

TrialsByX = Sequence[tuple[float | None, TrialResult]]
"""Trials, each with its x in a chart; None if it has none."""


def make_plots(board: StudyResult) -> list[Chart]:
    """Return the charts of a search and its choice, in the order of the report.

    An ablation has none: its search only tries a few rates for each cell, and its charts are those
    of `ablation_plots`.
    """
    if board.is_ablation:
        return []
    search_trials = board.stage("search")
    charts = [
        scores_chart(board),
        recall_chart(board),
        tuned_chart(board),
        agreement_chart(board),
        pareto_chart(search_trials, board),
        rates_chart(search_trials),
        rungs_chart(search_trials),
        history_chart(search_trials),
    ]
    stopped = Counter(trial.group for trial in search_trials if trial.status == "stopped")
    study = load_open_search(board.folder)
    if study is not None:
        color = group_colors([OPEN])[OPEN]
        charts.append(importance_chart(OPEN, importances(study), color, stopped=stopped[OPEN]))
    charts += confusion_charts(board)
    return charts


def rates_chart(search_trials: Sequence[TrialResult]) -> Chart:
    """Draw validation scores against the learning rate of each kind of parameter, and against λ."""
    points = {}
    for kind in list_kinds():
        title = f"learning rate of {kind.plural}"
        points[title] = [(trial.settings.rates.get(kind.name), trial) for trial in search_trials]
    weights = [(trial.settings.distill_weight or None, trial) for trial in search_trials]
    points["λ (distillation weight)"] = weights
    panels = []
    for title, trials in points.items():
        axis = Axis(title, scale="log")
        panels.append(Panel(axis, VALIDATION_AXIS, _series_by_group_and_status(trials)))
    return Chart(
        "learning-rates",
        "Validation score against learning rates and λ",
        "Finished and stopped search trials at the learning rate of their biases, at that of their "
        "LayerNorms and at their distillation weight, where they have them. Stopped trials show "
        "the score at which they were stopped.",
        panels,
        reason_if_empty="no search trial has a learning rate and a score yet",
        width=3.9,
    )


def rungs_chart(search_trials: Sequence[TrialResult]) -> Chart:
    """Draw the learning curves of the search, and how many trials reached each epoch."""
    scored = [trial for trial in search_trials if trial.curve and trial.proposed]
    colors = group_colors(trial.group for trial in search_trials)
    curves = []
    for trial in scored:
        curve = Series(
            group_name(trial.group),
            list(trial.curve),
            [100 * score for score in trial.curve.values()],
            style="line",
            color=colors[trial.group],
            opacity=0.45,
        )
        curves.append(curve)
    survivors = []
    for group, color in colors.items():
        last_epochs = [max(trial.curve) for trial in scored if trial.group == group]
        epochs = range(1, max(last_epochs, default=0) + 1)
        trials_left = []
        for epoch in epochs:
            trials_left.append(sum(last_epoch >= epoch for last_epoch in last_epochs))
        survivors.append(Series(group_name(group), epochs, trials_left, style="step", color=color))
    epoch_axis = Axis("epoch", scale="count")
    trial_axis = Axis("trials", scale="count")
    return Chart(
        "rungs",
        "Early stopping",
        "Left, the validation score of each trial over its epochs. Right, how many trials "
        "reached an epoch: after some epochs the weaker ones are stopped (successive halving). "
        "Trials that were given beforehand are left out.",
        (
            Panel(epoch_axis, VALIDATION_AXIS, curves, "Learning curves"),
            Panel(epoch_axis, trial_axis, survivors, "Trials that reached it"),
        ),
        reason_if_empty="no search trial has reported an epoch yet",
    )


def history_chart(search_trials: Sequence[TrialResult]) -> Chart:
    """Draw the scores of each group's finished trials in their order, and the best so far."""
    proposed = [trial for trial in search_trials if trial.proposed and trial.status == "finished"]
    series = []
    for group, color in group_colors(trial.group for trial in search_trials).items():
        by_number = [(trial.number, trial) for trial in proposed if trial.group == group]
        name = group_name(group)
        scores = _score_series(name, by_number, color=color, opacity=0.7)
        best = list(accumulate(scores.y, max))
        so_far = Series(f"{name}, best so far", scores.x, best, style="step", color=color)
        series += [scores, so_far]
    return Chart(
        "history",
        "Optimisation history",
        "Validation score of each finished trial by its number, and the best of its part of the "
        "search up to then. Stopped trials and those given beforehand are left out.",
        (Panel(Axis("number of the trial", scale="count"), VALIDATION_AXIS, series),),
        reason_if_empty="no search trial is complete yet",
        width=7.0,
    )


def pareto_chart(search_trials: Sequence[TrialResult], board: StudyResult) -> Chart:
    """Draw scores against trainable parameters: trials on validation, candidates on test."""
    size_axis = Axis("trainable parameters", scale="log")
    return Chart(
        "pareto",
        "Score against trainable parameters",
        "Left, finished search trials on validation, and the line joins the best scores "
        "for their size. Right, tested candidates, with 95 % intervals, in the colours of the "
        "parts of the search that they come from; ★ is the winner.",
        (_searched_sizes(search_trials, size_axis), _tested_sizes(board, size_axis)),
        reason_if_empty="no trial has finished yet",
    )


def _searched_sizes(search_trials: Sequence[TrialResult], size_axis: Axis) -> Panel:
    """Return the panel of finished trials against their size, and of their Pareto front."""
    by_size = []
    for trial in search_trials:
        size = trial.trainable if trial.status == "finished" else None
        by_size.append((size or None, trial))
    series = _series_by_group_and_status(by_size)
    points: list[tuple[float, float]] = []
    for trials in series:
        points += zip(trials.x, trials.y, strict=True)
    front = pareto_front(points)
    sizes, scores = list(front), list(front.values())
    series.append(Series("front", sizes, scores, style="step", color=GREY))
    return Panel(size_axis, VALIDATION_AXIS, series, "Search, on validation")


def _tested_sizes(board: StudyResult, size_axis: Axis) -> Panel:
    """Return the panel of tested candidates against their size, with a line at zero-shot."""
    tuned = [entry for entry in board.rows if entry.trainable]
    series = _series_by_entry(board, tuned, [entry.trainable for entry in tuned])
    zero_shot = board.find_row(ZERO_SHOT)
    line = None
    title = "On test"
    if zero_shot:
        line = 100 * zero_shot.test.mean
        title = "Candidates, on test (dotted: zero-shot)"
    return Panel(size_axis, Axis(f"test {board.metric}, %", line=line), series, title)


def agreement_chart(board: StudyResult) -> Chart:
    """Draw the test score of each tested candidate against its validation score."""
    scored = [entry for entry in board.rows if entry.val_score is not None]
    tuned = [entry for entry in scored if entry.trainable]
    panels = [_agreement_panel(board, "All candidates", scored)]
    # Zero-shot often scores far lower and squeezes the others into a corner.
    if 2 < len(tuned) < len(scored):
        panels.append(_agreement_panel(board, "Without zero-shot", tuned))
    return Chart(
        "agreement",
        "Validation against test",
        "Each candidate once: the score it was selected by, and its test score with a 95 % "
        "interval, in the colour of the part of the search that it comes from. A rising cloud "
        "means that validation ranked well; ★ is the winner.",
        panels,
        reason_if_empty="no candidate is tested on test yet",
    )


def _agreement_panel(board: StudyResult, title: str, entries: Sequence[Row]) -> Panel:
    val_scores = [100 * (entry.val_score or 0.0) for entry in entries]
    series = _series_by_entry(board, entries, val_scores)
    return Panel(VALIDATION_AXIS, Axis(f"test {board.metric}, %"), series, title)


def pareto_front(points: Iterable[tuple[float, float]]) -> dict[float, float]:
    """Return the Pareto front: the points that no other beats at the same or less cost.

    Args:
        points: pairs (cost, score); less cost and more score are better.

    Returns:
        The score of each cost of the front, by rising cost.
    """
    front = {}
    best = -inf
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if score > best:
            front[cost] = best = score
    return front


def _series_by_group_and_status(trials: TrialsByX) -> list[Series]:
    """Return a series for the finished and one for the stopped trials of each group."""
    series = []
    for group, color in group_colors(trial.group for _, trial in trials).items():
        for status, style in _STATUS_STYLES.items():
            alike = [
                (x, trial) for x, trial in trials if trial.group == group and trial.status == status
            ]
            series.append(
                _score_series(f"{group_name(group)}, {status}", alike, color=color, **style)
            )
    return series


def _score_series(name: str, trials: TrialsByX, **style: Any) -> Series:
    """Return the validation scores, in percent, of the trials that have both a score and an x."""
    xs = []
    scores = []
    for x, trial in trials:
        if x is not None and trial.val_score is not None:
            xs.append(x)
            scores.append(100 * trial.val_score)
    return Series(name, xs, scores, **style)


def _series_by_entry(
    board: StudyResult, entries: Sequence[Row], xs: Sequence[float]
) -> list[Series]:
    """Return a series for each candidate: the legend names it, as names at points would overlap.

    Its colour is that of the group that it comes from. A candidate without a search trial, as all
    are in a study without a search, has that of the baselines if it is one, else that of the open
    search.
    """
    groups = {trial.trial_id: trial.group for trial in board.stage("search")}
    palette = group_colors([*groups.values(), BASELINE, OPEN])
    uses: Counter[str] = Counter()
    series = []
    for entry, x in zip(entries, xs, strict=True):
        group_without_trial = BASELINE if entry.is_baseline else OPEN
        color = palette[groups.get(entry.source_trial or "", group_without_trial)]
        other_marker = OTHER_MARKERS[uses[color] % len(OTHER_MARKERS)]
        marker = WINNER_MARKER if entry.is_best else other_marker
        uses[color] += 1
        candidate = Series(
            starred_name(entry),
            [x],
            [100 * entry.test.mean],
            marker=marker,
            color=color,
            y_error=[100 * (entry.test.half_width or 0.0)],
        )
        series.append(candidate)
    return series
