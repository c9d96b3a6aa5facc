"""Charts of the results table; each ``*_chart`` returns a chart, or the reason why there is none.

Scores are fractions in the table and percent in the charts.
"""

from collections.abc import Sequence

from study.analysis.charts import BLUE, GREEN, GREY, ORANGE, PALETTE, Chart, Marker, Panel, Series
from study.analysis.comparison import ZERO_SHOT, Entry, Leaderboard, Row
from study.analysis.formatting import count, interval, percent, rate
from study.analysis.statistics import Estimate

_WINNER_MARKER: Marker = "star"
_CANDIDATE_MARKERS: tuple[Marker, ...] = ("circle", "square", "diamond", "triangle", "cross")


def rates_chart(searched: Sequence[Row]) -> Chart | str:
    """Draw validation scores against the learning rate of each kind of parameter."""
    panels = tuple(
        Panel(title, "validation score, %", series, x_log=True)
        for column, title in (
            ("bias_lr", "learning rate of biases"),
            ("ln_lr", "learning rate of LayerNorms"),
        )
        if (series := _by_arm_and_status(searched, column))
    )
    return Chart(panels) if panels else "no search trial has a learning rate and a score yet"


def rungs_chart(epochs: Sequence[Row]) -> Chart | str:
    """Draw the learning curves of the search, and how many trials reached each epoch."""
    scored = [row for row in epochs if row["val_score"] is not None and row["arm"] != "baseline"]
    arms = sorted({row["arm"] for row in scored})
    if not arms:
        return "no search trial has reported an epoch yet"
    curves: list[Series] = []
    survivors: list[Series] = []
    for arm, color in zip(arms, PALETTE, strict=False):
        trials: dict[str, list[Row]] = {}
        for row in scored:
            if row["arm"] == arm:
                trials.setdefault(row["trial_id"], []).append(row)
        for trial_id, reports in trials.items():
            curves.append(
                Series(
                    arm,
                    [row["epoch"] for row in reports],
                    [100 * row["val_score"] for row in reports],
                    style="line",
                    color=color,
                    opacity=0.45,
                    hover=[(trial_id, f"{percent(row['val_score'])} %") for row in reports],
                )
            )
        reached = sorted({row["epoch"] for row in scored if row["arm"] == arm})
        numbers = [
            sum(reports[-1]["epoch"] >= epoch for reports in trials.values()) for epoch in reached
        ]
        survivors.append(Series(arm, reached, numbers, style="step", color=color))
    return Chart(
        (
            Panel("epoch", "validation score, %", tuple(curves), title="Learning curves"),
            Panel("epoch", "trials", tuple(survivors), title="Trials that reached it", count=True),
        )
    )


def pareto_chart(searched: Sequence[Row], board: Leaderboard) -> Chart | str:
    """Draw scores against trainable parameters: trials on validation, candidates on test."""
    panels = []
    finished = [
        row
        for row in searched
        if row["status"] == "finished" and row["val_score"] is not None and row["trainable"]
    ]
    if finished:
        front = pareto_front([(row["trainable"], row["val_score"]) for row in finished])
        panels.append(
            Panel(
                "trainable parameters",
                "validation score, %",
                (
                    *_by_arm_and_status(finished, "trainable"),
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
                f"test {_metric(board)}, %",
                _entry_series(tuned, [float(entry.trainable or 0) for entry in tuned]),
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
        f"test {_metric(board)}, %",
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


def _metric(board: Leaderboard) -> str:
    return "hmean" if board.base_to_new else "accuracy"


def _by_arm_and_status(rows: Sequence[Row], column: str) -> tuple[Series, ...]:
    drawn = [row for row in rows if row[column] is not None and row["val_score"] is not None]
    series = []
    markers: dict[str, Marker] = {"finished": "circle", "stopped": "cross"}
    for arm, color in zip(sorted({row["arm"] for row in drawn}), PALETTE, strict=False):
        for status, marker in markers.items():
            some = [row for row in drawn if row["arm"] == arm and row["status"] == status]
            if some:
                series.append(
                    Series(
                        f"{arm}, {status}",
                        [row[column] for row in some],
                        [100 * row["val_score"] for row in some],
                        marker=marker,
                        color=color,
                        opacity=0.85 if status == "finished" else 0.6,
                        hover=[_describe(row) for row in some],
                    )
                )
    return tuple(series)


def _describe(row: Row) -> tuple[str, ...]:
    return (
        row["trial_id"],
        row["subset"] or "",
        f"bias lr {rate(row['bias_lr'])}, LN lr {rate(row['ln_lr'])}",
        f"λ {rate(row['distill_weight'])}, {count(row['trainable'])} parameters",
        f"validation {percent(row['val_score'])} % after {row['epochs']} epochs",
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
                y_error=[_half(entry.test)],
                hover=[(entry.name, entry.subset or "", f"test {interval(entry.test)} %")],
            )
        )
    return tuple(series)


def _half(value: Estimate) -> float | None:
    return None if value.half_width is None else 100 * value.half_width
