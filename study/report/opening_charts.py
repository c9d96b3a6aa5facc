"""The charts on the first screen of a report: the scores, and what of CLIP is tuned."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from study.backbones.architecture import ENCODERS, Depths
from study.config.labels import LINEAR, TUNED, ZERO_SHOT
from study.errors import BackboneError
from study.method.subsets import Subset, Term, list_sites, parse
from study.report.charts import BLUE, GREY, WINNER_MARKER, Axis, Chart, Panel, Series
from study.report.formatting import HoverText, format_mean, score_cell
from study.report.names import candidate_name
from study.results.statistics import MeanInterval
from study.results.study_result import StudyResult

WIDTH = 4.0
"""The width of a chart in inches, of which a phone has one beside no other, and a page three."""
COMPARED = {ZERO_SHOT, LINEAR, TUNED}
"""The candidates that the winner of a search is drawn beside."""
_STATES = (
    ("tuned", {True}, BLUE, 0.95),
    ("tuned in part", {True, False}, BLUE, 0.45),
    ("as in CLIP", {False}, GREY, 0.35),
)
"""The name of each state of a square, whether its tensors are tuned, its colour and opacity."""


def scores_chart(board: StudyResult) -> Chart:
    """Draw the test scores of the winner, what it is compared with, and the final model.

    In a study without a search all candidates are drawn.
    """
    names = []
    series = []
    for row, (name, score) in enumerate(_compared_scores(board)):
        error = None
        if score.low is not None and score.high is not None:
            error = ([100 * (score.mean - score.low)], [100 * (score.high - score.mean)])
        text = f"{name}\n{format_mean(score, ' %')}"
        names.append(HoverText(text, score_cell(score).hover))
        marker = WINNER_MARKER if name == "winner" else "circle"
        series.append(Series("", [100 * score.mean], [row], marker=marker, x_error=error))
    chance = None
    caption = "With 95 % intervals; a score that was trained once has that of test images alone."
    if board.chance is not None:
        chance = 100 * board.chance
        caption += " Dotted: chance."
    return Chart(
        "scores",
        "Scores on test",
        caption,
        [Panel(Axis(f"test {board.metric}, %", line=chance), Axis("", names=names), series)],
        reason_if_empty="nothing is tested on test yet",
        width=WIDTH,
        height=0.8 + 0.44 * len(names),
    )


def _compared_scores(board: StudyResult) -> Iterator[tuple[str, MeanInterval]]:
    """Yield the name and the score of each candidate in the chart, the lowest first."""
    for entry in reversed(board.rows):
        compared = COMPARED.intersection(entry.labels)
        if entry.is_best_by_validation and board.has_search:
            yield "best configuration", entry.test
        elif compared or not board.has_search:
            yield candidate_name(next(iter(compared), entry.label)), entry.test
    if board.final and board.final.test:
        score = board.final.test
        if score.images:  # a single training has no other interval
            score = replace(score, low=score.images.low, high=score.images.high)
        yield "final model", score


def tuned_chart(board: StudyResult) -> Chart:
    """Draw which sites of which layers the choice of validation tunes."""
    panels = []
    reason = _reason_without_map(board)
    if board.best_by_validation and not reason:
        try:
            depths = board.study.architecture.depths
        except BackboneError as error:
            reason = f"the layers of the backbone are not known: {error}"
        else:
            panels.append(_map_of(parse(board.best_by_validation.settings.subset), depths))
    return Chart(
        "tuned",
        "What the best configuration tunes",
        "Rows are sites; columns are layers, counted from 0, and what is before (in) and after.",
        panels,
        reason_if_empty=reason,
        width=WIDTH,
        height=1.0 + 0.17 * sum(len(panel.y.names or ()) for panel in panels),
    )


def _reason_without_map(board: StudyResult) -> str:
    """Return why no parameter of CLIP itself is tuned; empty if one is."""
    choice = board.best_by_validation
    if not choice:
        return "nothing is chosen and tested yet" if board.has_search else "nothing was searched"
    if choice.settings.peer:
        return "the best configuration adapts CLIP in another way than by its own parameters"
    if choice.settings.subset == "none":
        return "the best configuration changes no parameter of CLIP"
    return ""


def _map_of(subset: Subset, depths: Depths) -> Panel:
    """Return a panel with a square for each site in each layer of a model."""
    tuned = subset.resolve(depths)
    layers = max(depths.text, depths.vision)
    terms = [
        Term(encoder, site) for encoder in ENCODERS for site in list_sites(encoder, depths.family)
    ]
    terms.reverse()  # the first row is to be at the top
    squares: dict[tuple[int, int], set[bool]] = defaultdict(set)
    for row, term in enumerate(terms):
        for leaf in sorted(term.resolve(depths), key=str):
            column = leaf.layer
            if column is None:
                column = -2 if leaf.row.stage == "before" else layers + 1
            squares[column + 2, row].add(leaf in tuned)
    series = []
    for name, are_tuned, color, opacity in _STATES:
        places = [place for place, state in squares.items() if state == are_tuned]
        xs = [x for x, _ in places]
        ys = [y for _, y in places]
        series.append(Series(name, xs, ys, marker="square", color=color, opacity=opacity))
    step = 1 + layers // 13
    numbers = [str(layer) if layer % step == 0 else "" for layer in range(layers)]
    columns = ["in", "", *numbers, "", "out"]
    return Panel(Axis("layer", names=columns), Axis("", names=list(map(str, terms))), series)
