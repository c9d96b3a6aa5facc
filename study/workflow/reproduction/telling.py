"""A record in words: what could not be run comes first, then figures beside published ones."""

from collections import defaultdict
from pathlib import Path

from study.data.records import listed_texts
from study.process.templates import templates
from study.report.formatting import Table, markdown_text, percent
from study.report.reproduction_tables import Pair, comparison_table
from study.report.sentences import sentences
from study.results.trial_results import PARTS
from study.workflow.reproduction.record import Reproduction

NO_MEASUREMENT = "no measurement"
"""What stands beside each figure of a quick reproduction."""


def first_lines(record: Reproduction) -> list[str]:
    """Return what a reader must know before any figure, a line each."""
    names = defaultdict(list)
    for step in record.steps:
        if not step.done:
            for reason in step.reasons or ["not yet run"]:
                names[reason].append(step.name)
    return sentences(
        "workflow/reproduction/first_lines",
        record=record,
        steps_by_reason=names,
        listed_texts=listed_texts,
    )


def figures(record: Reproduction) -> dict[str, Table]:
    """Return the tables of figures, by the names of their CSV files."""
    mark = ""
    if not record.measurement:
        mark = f" ({NO_MEASUREMENT})"
    scores: dict[str, dict[str, Pair]] = defaultdict(dict)
    rows = []
    for step in record.steps:
        for score in step.scores:
            parts = [f"{name} {percent(part, 2)}" for name, part in score.parts.items()]
            row = [step.name, score.configuration + mark, f"{score.seeds:g}"]
            rows.append([*row, percent(score.test, 2), ", ".join(parts)])
            if step.name.startswith("base_to_new-") and score.parts.keys() >= set(PARTS):
                base, new = (score.parts[part] for part in PARTS)
                scores[score.configuration][score.dataset] = (base, new)
    tables = {}
    if scores:
        tables["comparison"] = comparison_table(scores, mark)
    if rows:
        header = ["step", "configuration", "seeds", "test %", "parts %"]
        title = f"Test scores of all steps{mark}"
        tables["scores"] = Table(title, header, rows, left=2, keys=2)
    return tables


def facts(record: Reproduction) -> Table:
    """Return the table of what was run, on which machine and data."""
    rows = []
    for number, run in enumerate(record.runs):
        known = {"command": run.command, "began": run.began} | run.machine
        rows += [(f"run {number}", *fact) for fact in known.items()]
    for name, known in record.inputs.items():
        rows += [(name, *fact) for fact in known.items()]
    for step in record.steps:
        if step.done:
            fact = f"{step.seconds:.0f} s in run {step.run:g}"
            rows.append((step.name, fact, step.command))
    return Table("What was run, and on what", ["", "fact", "value"], rows, left=3)


def markdown(record: Reproduction) -> str:
    """Return the page of a record."""
    page = templates(Path(__file__).parent, keep_trailing_newline=True).get_template(
        "page.md.jinja"
    )
    tables = [*figures(record).values(), facts(record)]
    return str(page.render(lines=first_lines(record), tables=tables, markdown_text=markdown_text))
