"""Charts of the results table; each ``*_chart`` returns a chart, or the reason why there is none.

Scores are fractions in the table and percent in the charts.
"""

from collections.abc import Iterable, Sequence

from study.analysis.charts import BLUE, GREEN, GREY, ORANGE, PALETTE, Chart, Marker, Panel, Series
from study.analysis.comparison import ZERO_SHOT, Entry, Leaderboard
from study.analysis.formatting import (
    count,
    interval,
    percent,
    setting_cells,
    setting_header,
)
from study.analysis.results import TrialResult
from study.method.parameters import all_kinds

_WINNER_MARKER: Marker = "star"
_CANDIDATE_MARKERS: tuple[Marker, ...] = ("circle", "square", "diamond", "triangle", "cross")


def rates_chart(searched: Sequence[TrialResult]) -> Chart | str:
    """Draw validation scores against the learning rate of each kind of parameter."""
    panels = tuple(
        Panel(f"learning rate of {kind.plural}", "validation score, %", series, x_log=True)
        for kind in all_kinds()
        if (series := _by_arm_and_status([(t, t.settings.rates.get(kind.name)) for t in searched]))
    )
    return Chart(panels) if panels else "no search trial has a learning rate and a score yet"


def rungs_chart(searched: Sequence[TrialResult]) -> Chart | str:
    """Draw the learning curves of the search, and how many trials reached each epoch."""
    scored = [trial for trial in searched if trial.curve and trial.arm != "baseline"]
    arms = sorted({trial.arm for trial in scored})
    if not arms:
        return "no search trial has reported an epoch yet"
    curves: list[Series] = []
    survivors: list[Series] = []
    for arm, color in zip(arms, PALETTE, strict=False):
        trials = [trial for trial in scored if trial.arm == arm]
        for trial in trials:
            curves.append(
                Series(
                    arm,
                    list(trial.curve),
                    [100 * score for score in trial.curve.values()],
                    style="line",
                    color=color,
                    opacity=0.45,
                    hover=[(trial.trial_id, f"{percent(s)} %") for s in trial.curve.values()],
                )
            )
        reached = sorted({epoch for trial in trials for epoch in trial.curve})
        numbers = [sum(max(trial.curve) >= epoch for trial in trials) for epoch in reached]
        survivors.append(Series(arm, reached, numbers, style="step", color=color))
    return Chart(
        (
            Panel("epoch", "validation score, %", tuple(curves), title="Learning curves"),
            Panel("epoch", "trials", tuple(survivors), title="Trials that reached it", count=True),
        )
    )


def pareto_chart(searched: Sequence[TrialResult], board: Leaderboard) -> Chart | str:
    """Draw scores against trainable parameters: trials on validation, candidates on test."""
    panels = []
    finished = [
        (trial, trial.trainable, score)
        for trial in searched
        if trial.status == "finished" and (score := trial.val_score) is not None and trial.trainable
    ]
    if finished:
        front = pareto_front([(trainable, score) for _, trainable, score in finished])
        panels.append(
            Panel(
                "trainable parameters",
                "validation score, %",
                (
                    *_by_arm_and_status([(trial, trainable) for trial, trainable, _ in finished]),
                    Series(
                        "front",
                        [point[0] for point in front],
                        [100 * point[1] for point in front],
                        style="step",
                        color=GREEN,
                    ),
                ),
                x_log=True,
                title="Search, on validation",
            )
        )
    tuned = [entry for entry in board.entries if entry.trainable]
    if tuned:
        zero_shot = board.entry(ZERO_SHOT)
        panels.append(
            Panel(
                "trainable parameters",
                f"test {board.metric}, %",
                _entry_series(tuned, [float(entry.trainable) for entry in tuned]),
                x_log=True,
                title="Candidates, on test (dotted: zero-shot)" if zero_shot else "On test",
                y_line=None if zero_shot is None else 100 * zero_shot.test.mean,
            )
        )
    return Chart(tuple(panels)) if panels else "no trial has finished yet"


def agreement_chart(board: Leaderboard) -> Chart | str:
    """Draw the test score of each confirmed candidate against its validation score."""
    scored = [entry for entry in board.entries if entry.val_score is not None]
    if not scored:
        return "no candidate is confirmed on test yet"
    panels = [_agreement_panel(board, scored, "All candidates")]
    tuned = [entry for entry in scored if entry.trainable]
    # Zero-shot often scores far lower and squeezes the others into a corner.
    if 2 < len(tuned) < len(scored):
        panels.append(_agreement_panel(board, tuned, "Without zero-shot"))
    return Chart(tuple(panels))


def _agreement_panel(board: Leaderboard, entries: Sequence[Entry], title: str) -> Panel:
    return Panel(
        "validation score, %",
        f"test {board.metric}, %",
        _entry_series(entries, [100 * (entry.val_score or 0.0) for entry in entries]),
        title=title,
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the Pareto front: the points that no other beats at the same or less cost.

    Args:
        points: pairs (cost, score); less cost and more score are better.

    Returns:
        The front, by rising cost.
    """
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def _by_arm_and_status(placed: Iterable[tuple[TrialResult, float | None]]) -> tuple[Series, ...]:
    """Return the trials' validation scores as series, each trial at a place on the other axis."""
    drawn = [
        (trial, x, 100 * score)
        for trial, x in placed
        if x is not None and (score := trial.val_score) is not None
    ]
    series = []
    markers: dict[str, Marker] = {"finished": "circle", "stopped": "cross"}
    for arm, color in zip(sorted({trial.arm for trial, *_ in drawn}), PALETTE, strict=False):
        for status, marker in markers.items():
            some = [item for item in drawn if (item[0].arm, item[0].status) == (arm, status)]
            if some:
                series.append(
                    Series(
                        f"{arm}, {status}",
                        [x for _, x, _ in some],
                        [y for *_, y in some],
                        marker=marker,
                        color=color,
                        opacity=0.85 if status == "finished" else 0.6,
                        hover=[_describe(trial) for trial, *_ in some],
                    )
                )
    return tuple(series)


def _describe(trial: TrialResult) -> tuple[str, ...]:
    *rates, weight = map(
        " ".join, zip(setting_header(), setting_cells(trial.settings, trial.trainable), strict=True)
    )
    return (
        trial.trial_id,
        trial.settings.subset,
        ", ".join(rates),
        f"{weight}, {count(trial.trainable)} parameters",
        f"validation {percent(trial.val_score)} % after {trial.epochs} epochs",
    )


def _entry_series(entries: Sequence[Entry], x: Sequence[float]) -> tuple[Series, ...]:
    # One series per candidate, named in the legend, since names beside the points would overlap.
    series = []
    drawn = {"baseline": 0, "runner-up": 0}
    for entry, position in zip(entries, x, strict=True):
        color, marker = ORANGE, _WINNER_MARKER
        if not entry.winner:
            role = "baseline" if entry.baseline else "runner-up"
            color = GREY if role == "baseline" else BLUE
            marker = _CANDIDATE_MARKERS[drawn[role] % len(_CANDIDATE_MARKERS)]
            drawn[role] += 1
        series.append(
            Series(
                f"{entry.name} ★" if entry.winner else entry.name,
                [position],
                [100 * entry.test.mean],
                marker=marker,
                color=color,
                y_error=[entry.test.half_width and 100 * entry.test.half_width],
                hover=[(entry.name, entry.settings.subset, f"test {interval(entry.test)} %")],
            )
        )
    return tuple(series)
