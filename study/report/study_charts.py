"""The charts of a study; scores are drawn in percent.

The first screen of the report has the charts of the scores and of what is tuned.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, product
from math import inf
from typing import Any

from study.backbones.architecture import ENCODERS, Depths
from study.config.labels import BASELINE, LINEAR, OPEN, TUNED, ZERO_SHOT
from study.errors import BackboneError
from study.method.parameters import list_kinds
from study.method.subsets import Term, list_sites, parse
from study.report.ablation_tables import forest_chart
from study.report.charts import (
    BEST_MARK,
    BLUE,
    BROWN,
    GREY,
    MARKERS,
    OLIVE,
    ORANGE,
    PALETTE,
    PINK,
    VIOLET,
    Chart,
    draw_bars,
    in_percent,
    log_scale,
    name_axis,
)
from study.report.class_tables import recall_chart
from study.report.formatting import format_mean
from study.report.names import candidate_name, group_name, starred_name
from study.report.terminal import amount
from study.report.verdict import best_name
from study.results.importance import importances, load_open_search
from study.results.statistics import MeanInterval
from study.results.study_result import StudyResult
from study.results.trial_results import TrialResult

_OPENING_WIDTH = 4.0
"""The width in inches of a chart on the first screen: a phone shows one per row, a page three."""
_COMPARED = {ZERO_SHOT, LINEAR, TUNED}
"""The candidates that are drawn with the best configuration."""
_STATES = {
    "tuned": ({True}, BLUE, 0.95),
    "partly tuned": ({True, False}, BLUE, 0.45),
    "frozen": ({False}, GREY, 0.35),
}
"""For each state of a square: whether its tensors are tuned, its colour and opacity."""
VALIDATION = "validation score, %"
_GROUP_COLORS = {OPEN: BLUE, TUNED: ORANGE, BASELINE: GREY}
_GROUP_COLORS |= {"full": PINK, "lora": OLIVE, "projection": BROWN}
_STATUS_STYLES = {
    "finished": {"marker": "o", "alpha": 0.85},
    "stopped": {"marker": "X", "alpha": 0.6},
}


def make_charts(result: StudyResult) -> list[Chart]:
    """Return the charts of a study: of its search and its best, or of its ablation."""
    if result.ablation:
        return [forest_chart(result.ablation)]
    trials = result.stage("search")
    return [
        scores_chart(result),
        recall_chart(result),
        tuned_chart(result),
        agreement_chart(result),
        importance_chart(result),
        pareto_chart(trials),
        rates_chart(trials),
    ]


def scores_chart(result: StudyResult) -> Chart:
    """Draw the test scores of the best configuration, its rivals, and the final model.

    In a study without a search all candidates are drawn.
    """
    shown = [*_compared_scores(result)]
    names = [f"{name}\n{format_mean(score, ' %')}" for name, score in shown]

    def paint(axes: Any) -> None:
        for row, (name, score) in enumerate(shown):
            look: Any = BEST_MARK if name == "best configuration" else {"marker": "o"}
            mean, errors = in_percent([(score.mean, score.interval)])
            axes.errorbar(mean, [row], xerr=errors, color=BLUE, **look)
        if result.chance is not None:
            axes.axvline(100 * result.chance, linestyle=":", color=GREY)
        axes.set_xlabel(f"test {result.protocol.metric}, %")
        name_axis(axes, "y", names)

    chance = "" if result.chance is None else " Dotted line: chance."
    return Chart(
        "scores",
        "Test scores",
        f"With 95 % intervals; for a single training, over test images alone.{chance}",
        [paint] if shown else [],
        reason_if_empty="nothing has a test score yet",
        width=_OPENING_WIDTH,
        height=0.8 + 0.44 * len(names),
    )


def _compared_scores(result: StudyResult) -> Iterator[tuple[str, MeanInterval]]:
    """Yield the name and the score of each candidate in the chart, the lowest first."""
    for entry in reversed(result.rows):
        compared = _COMPARED.intersection(entry.labels)
        if entry.is_best_by_validation and result.has_search:
            yield best_name(result), entry.test
        elif compared or not result.has_search:
            yield candidate_name(next(iter(compared), entry.label)), entry.test
    if result.final and result.final.test:
        yield "final model", result.final.test


def tuned_chart(result: StudyResult) -> Chart:
    """Draw which sites of which layers the best configuration tunes."""
    squares: dict[tuple[int, int], set[bool]] = {}
    rows: list[Term] = []
    layers = 0
    reason = "the selected configuration tunes no sites of CLIP"
    best = result.best_by_validation
    if best and best.settings.subset != "none":
        try:
            depths = result.study.architecture.depths
        except BackboneError as error:
            reason = f"the layers of the backbone are unknown: {error}"
        else:
            layers = max(depths.text, depths.vision)
            # The first row is to be at the top.
            rows = [Term(one, site) for one in ENCODERS for site in list_sites(one, depths.family)]
            rows.reverse()
            squares = _squares(best.settings.subset, rows, depths)

    def paint(axes: Any) -> None:
        for name, (are_tuned, color, opacity) in _STATES.items():
            places = [place for place, state in squares.items() if state == are_tuned]
            if places:
                xs, ys = zip(*places, strict=True)
                axes.plot(xs, ys, "s", color=color, alpha=opacity, markeredgewidth=0, label=name)
        step = 1 + layers // 13
        numbers = [str(layer) if layer % step == 0 else "" for layer in range(layers)]
        axes.set_xlabel("layer")
        name_axis(axes, "x", ["in", "", *numbers, "", "out"])
        name_axis(axes, "y", [*map(str, rows)])
        axes.grid(visible=False)

    return Chart(
        "tuned",
        f"What the {best_name(result)} tunes",
        "Rows are sites. Columns are layers from 0; “in” and “out” are before and after them.",
        [paint] if squares else [],
        reason_if_empty=reason,
        width=_OPENING_WIDTH,
        height=1.0 + 0.17 * len(rows),
    )


def _squares(subset: str, rows: list[Term], depths: Depths) -> dict[tuple[int, int], set[bool]]:
    """Return whether the tensors of each site in each layer are tuned, by column and row."""
    tuned = parse(subset).resolve(depths)
    last = max(depths.text, depths.vision) + 1
    squares: dict[tuple[int, int], set[bool]] = defaultdict(set)
    for row, term in enumerate(rows):
        for tensor in sorted(term.resolve(depths), key=str):
            column = tensor.layer
            if column is None:
                column = -2 if tensor.row.stage == "before" else last
            squares[column + 2, row].add(tensor in tuned)
    return squares


def rates_chart(trials: Sequence[TrialResult]) -> Chart:
    """Draw validation scores against the learning rate of each kind of parameter, and against λ."""
    axes = {f"learning rate of {kind.plural}": kind.name for kind in list_kinds()}
    by_x = {
        title: [(trial.settings.rates.get(kind), trial) for trial in trials]
        for title, kind in axes.items()
    }
    by_x["λ (distillation weight)"] = [(t.settings.distill_weight or None, t) for t in trials]
    painters = []
    for title, placed in by_x.items():
        scored = _scored(placed)

        def paint(axes: Any, title: str = title, scored: _Scored = scored) -> None:
            _draw_trials(axes, scored)
            log_scale(axes)
            axes.set(xlabel=title, ylabel=VALIDATION)

        if scored:
            painters.append(paint)
    return Chart(
        "learning-rates",
        "Validation score against learning rates and λ",
        "Validation scores of search trials. A stopped trial has the score when it was stopped.",
        painters,
        reason_if_empty="no search trial has a learning rate and a score yet",
        width=3.9,
    )


def importance_chart(result: StudyResult) -> Chart:
    """Draw the relative weights of the parameters of the open search."""
    found = importances(load_open_search(result.folder))
    names = sorted(found.weights, key=lambda name: found.weights[name])
    stopped = sum(t.status == "stopped" and t.group == OPEN for t in result.stage("search"))

    def paint(axes: Any) -> None:
        draw_bars(axes, [100 * found.weights[name] for name in names])
        axes.set_xlabel("relative weight, %")
        name_axis(axes, "y", names)

    caption = (
        f"Relative weights by fANOVA over {found.trials} finished trials of the open search. They "
        "sum to 100 %, even for noise. A site, such as vision.ln1, stands for whether a trial "
        "tunes it; “from” and “to” are the first and the last tuned layer."
    )
    reason = found.reason_if_empty
    if stopped:
        caption += f" Not included: {amount(stopped, 'trial')} stopped early."
        reason += f"; {amount(stopped, 'trial')} stopped early"
    return Chart(
        "importance-search",
        "Parameter importance",
        caption,
        [paint] if names else [],
        reason_if_empty=reason,
        width=6.5,
        height=1.4 + 0.35 * len(names),
    )


def pareto_chart(trials: Sequence[TrialResult]) -> Chart:
    """Draw the validation scores of finished trials against their trainable parameters."""
    scored = _scored((t.trainable or None, t) for t in trials if t.status == "finished")

    def paint(axes: Any) -> None:
        _draw_trials(axes, scored)
        front = pareto_front((size, score) for size, score, _ in scored)
        axes.step([*front], [*front.values()], where="post", color=GREY, label="Pareto front")
        log_scale(axes)
        axes.set(xlabel="trainable parameters", ylabel=VALIDATION)

    return Chart(
        "pareto",
        "Score against trainable parameters",
        "Finished search trials. On the Pareto front, no smaller trial scores as high.",
        [paint] if scored else [],
        reason_if_empty="no trial has finished yet",
        width=7.0,
    )


def agreement_chart(result: StudyResult) -> Chart:
    """Draw the test score of each tested candidate against its validation score."""
    scored = [entry for entry in result.rows if entry.val_score is not None]

    def paint(axes: Any) -> None:
        looks = cycle(product(MARKERS, PALETTE))
        for row, (marker, color) in zip(scored, looks, strict=False):
            look: Any = BEST_MARK if row.is_best else {"marker": marker}
            val = [100 * (row.val_score or 0.0)]
            test, errors = in_percent([(row.test.mean, row.test.interval)])
            # The legend names candidates, as names at points would overlap.
            axes.errorbar(val, test, yerr=errors, color=color, label=starred_name(row), **look)
        axes.set(xlabel=VALIDATION, ylabel=f"test {result.protocol.metric}, %")

    return Chart(
        "agreement",
        "Validation against test",
        "Each candidate’s validation score, and its test score with a 95 % interval. ★ marks the "
        "best configuration.",
        [paint] if scored else [],
        reason_if_empty="no candidate has a test score yet",
        width=7.0,
    )


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


_Scored = Sequence[tuple[float, float, TrialResult]]
"""Trials, each with its x in a chart and its validation score in percent."""


def _scored(trials: Iterable[tuple[float | None, TrialResult]]) -> _Scored:
    """Return the trials that have an x and a score, with both."""
    return [
        (x, 100 * trial.val_score, trial)
        for x, trial in trials
        if x is not None and trial.val_score is not None
    ]


def _draw_trials(axes: Any, scored: _Scored) -> None:
    """Draw the finished and the stopped trials of each group, which is alike in all charts."""
    further = cycle((VIOLET, PINK, OLIVE))
    for group in sorted({trial.group for *_, trial in scored}):
        color = _GROUP_COLORS.get(group) or next(further)
        for status, style in _STATUS_STYLES.items():
            alike = [one for one in scored if (one[2].group, one[2].status) == (group, status)]
            if alike:
                xs, ys, _ = zip(*alike, strict=True)
                name = f"{group_name(group)}, {status}"
                axes.plot(xs, ys, linestyle="", color=color, label=name, **style)
