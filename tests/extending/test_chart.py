"""A chart of one's own, of the tested candidates: a function, its call, its place on the page."""

from pathlib import Path
from typing import Any

import pytest

DRAWING = '''def tested_chart(board: StudyResult) -> Chart:
    """Draw the test score of each candidate, in the order of the table."""
    scores = [100 * entry.test.mean for entry in board.rows]

    def paint(axes: Any) -> None:
        axes.plot(scores, "o", label="candidates")
        axes.set(xlabel="place", ylabel="test score, %")

    return Chart(
        "tested",
        "Scores of the tested",
        "Each tested candidate, in the order of the table.",
        [paint] if scores else [],
        reason_if_empty="no candidate is tested yet",
    )


'''
PLACE = "        tested_chart(board),"
MODULE = "report/plots.py"
SECTION = '    yield from _charts(charts, "importance-search"'


@pytest.mark.long
def test_the_report_has_it(edited: Any, tmp_path: Path):
    drawing = (MODULE, "def pareto_chart(", DRAWING)
    shown = ("report/page.py", SECTION, '    yield from _charts(charts, "tested")')
    edited(MODULE, "        pareto_chart(trials),", PLACE, more=[drawing, shown])
    folder = tmp_path / "runs" / "mine"
    report = (folder / "report.html").read_text()
    label = "Scores of the tested. test score,\xa0% against place: candidates"
    assert f'aria-label="{label}"' in report
    assert "Each tested candidate, in the order of the table." in report
    assert {p.name for p in folder.glob("plots/tested.*")} == {"tested.png", "tested.svg"}
