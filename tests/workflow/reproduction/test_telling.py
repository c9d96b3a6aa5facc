"""What is told of a record: what is missing first, and markup as it is."""

from study.workflow.reproduction.record import Reproduction, Score, StepRecord
from study.workflow.reproduction.telling import figures, first_lines, markdown

SCORE = Score(
    configuration="clipfit", dataset="dtd", seeds=3, test=0.5, parts={"base": 0.5, "new": 0.5}
)


def step(name: str, *reasons: str, done: bool = False) -> StepRecord:
    scores = [SCORE] if done else []
    return StepRecord(
        name=name,
        command="run",
        reasons=list(reasons),
        done=done,
        scores=scores,
    )


RECORD = Reproduction(
    measurement=False,
    settings=["training.epochs=3"],
    inputs={"<b>": {"|[red]|": "*"}},
    steps=[step("a", done=True), step("b", "no GPU"), step("c", "no GPU", "no net"), step("d")],
)


def test_what_is_missing_stands_first_with_each_reason_once():
    assert [line.partition(":")[0] for line in first_lines(RECORD)] == [
        "NO MEASUREMENT",
        "NOT AS PUBLISHED, by these settings",
        *("NO RESULT of b, c", "NO RESULT of c", "NO RESULT of d"),
        "1 of 4 steps have results.",
    ]
    assert markdown(RECORD).splitlines()[2].startswith("- NO MEASUREMENT: ")


def test_each_figure_of_a_quick_run_is_marked_and_markup_is_text():
    for table in figures(RECORD).values():
        for row in table.texts:
            assert any("(no measurement)" in cell for cell in row)
    assert "&lt;b&gt;" in markdown(RECORD)
    assert r"\|\[red]\|" in markdown(RECORD)
