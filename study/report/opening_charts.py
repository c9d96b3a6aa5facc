"""The charts on the first screen of a report: the scores, and what of CLIP is tuned."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from study.backbones.architecture import ENCODERS, Depths
from study.config.labels import LINEAR, TUNED, ZERO_SHOT
from study.errors import BackboneError
from study.method.subsets import Term, list_sites, parse
from study.report.charts import BEST_MARK, BLUE, GREY, Chart, in_percent, name_axis
from study.report.formatting import format_mean
from study.report.names import candidate_name
from study.report.verdict import best_name
from study.results.statistics import MeanInterval
from study.results.study_result import StudyResult

WIDTH = 4.0
"""The width of a chart in inches, of which a phone has one beside no other, and a page three."""
_COMPARED = {ZERO_SHOT, LINEAR, TUNED}
"""The candidates that the best configuration is drawn beside."""
_STATES = {
    "tuned": ({True}, BLUE, 0.95),
    "tuned in part": ({True, False}, BLUE, 0.45),
    "as in CLIP": ({False}, GREY, 0.35),
}
"""Of each state of a square: whether its tensors are tuned, its colour and opacity."""


def scores_chart(board: StudyResult) -> Chart:
    """Draw the test scores of the best configuration, what it is beside, and the final model.

    In a study without a search all candidates are drawn.
    """
    shown = [*_compared_scores(board)]
    names = [f"{name}\n{format_mean(score, ' %')}" for name, score in shown]

    def paint(axes: Any) -> None:
        for row, (name, score) in enumerate(shown):
            look: Any = BEST_MARK if name == "best configuration" else {"marker": "o"}
            mean, errors = in_percent([(score.mean, score.interval)])
            axes.errorbar(mean, [row], xerr=errors, color=BLUE, **look)
        if board.chance is not None:
            axes.axvline(100 * board.chance, linestyle=":", color=GREY)
        axes.set_xlabel(f"test {board.protocol.metric}, %")
        name_axis(axes, "y", names)

    chance = "" if board.chance is None else " Dotted: chance."
    return Chart(
        "scores",
        "Scores on test",
        f"With 95 % intervals; that of a single training is over test images alone.{chance}",
        [paint] if shown else [],
        reason_if_empty="nothing has a test score yet",
        width=WIDTH,
        height=0.8 + 0.44 * len(names),
    )


def _compared_scores(board: StudyResult) -> Iterator[tuple[str, MeanInterval]]:
    """Yield the name and the score of each candidate in the chart, the lowest first."""
    for entry in reversed(board.rows):
        compared = _COMPARED.intersection(entry.labels)
        if entry.is_best_by_validation and board.has_search:
            yield best_name(board), entry.test
        elif compared or not board.has_search:
            yield candidate_name(next(iter(compared), entry.label)), entry.test
    if board.final and board.final.test:
        yield "final model", board.final.test


def tuned_chart(board: StudyResult) -> Chart:
    """Draw which sites of which layers the best configuration tunes."""
    squares: dict[tuple[int, int], set[bool]] = {}
    rows: list[Term] = []
    layers = 0
    reason = "the selected configuration tunes no sites of CLIP"
    best = board.best_by_validation
    if best and best.settings.subset != "none":
        try:
            depths = board.study.architecture.depths
        except BackboneError as error:
            reason = f"the layers of the backbone are not known: {error}"
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
        f"What the {best_name(board)} tunes",
        "Rows are sites; columns are layers, counted from 0, and what is before (in) and after.",
        [paint] if squares else [],
        reason_if_empty=reason,
        width=WIDTH,
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
