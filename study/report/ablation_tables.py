"""An ablation's cells against its base: table, verdict, and their files."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Group
from rich.text import Text

from study.process.terminal_table import amount
from study.report.ablation_charts import ablation_plots
from study.report.charts import write_plots
from study.report.formatting import (
    Table,
    chance_sentences,
    comparison_cells,
    describe_missed,
    format_correlation,
    format_count,
    format_mean,
    format_rate,
    interval_columns,
    markdown_text,
    p_columns,
    percent,
    points,
    score_cells,
    score_header,
)
from study.report.interaction_tables import (
    interaction_record,
    interaction_table,
    interaction_verdict,
)
from study.report.scope import interval_scope, same_test_sentences
from study.report.setting_descriptions import SETTING_NOTE, setting_cells, setting_header
from study.results.ablation import BASE, AblationTable, Cell
from study.results.trial_results import PARTS
from study.storage.atomic import write_atomically

SENSITIVITY_NOTE = (
    "Sensitivity is known before training, from one pass over the labelled images: the share of "
    "these tensors in how much a first step on all tensors would lower the loss, to first order. "
)


def ablation_verdict(table: AblationTable) -> Iterator[str]:
    """Yield sentences that name the cells beyond noise, within noise and at an edge of rates.

    They also name the cells with extended grids, and the pairs of sites that interact.
    """
    yield from _base_chosen_after_test(table)
    yield from _verdict_on_cells(table)
    yield from _verdict_on_rates(table)
    yield from _verdict_on_sensitivity(table)
    yield from interaction_verdict(table.interactions)
    yield from chance_sentences(table.chance, guess=table.protocol.guess)
    yield from same_test_sentences(table)
    if table.split == "val":
        yield "These are validation scores: no test image was read."


def _base_chosen_after_test(table: AblationTable) -> Iterator[str]:
    """Yield a warning if the base is not the one that was fixed before anything was tested."""
    if table.base.label != BASE and table.split == "test":
        yield (
            f"“{table.base.label}” was made the base after the cells had been tested: which cell "
            "is the base may have been chosen by its test score, so take these differences and "
            f"their p as a description. The base that was fixed before is “{BASE}”."
        )


def _verdict_on_cells(table: AblationTable) -> Iterator[str]:
    """Yield which cells differ from the base by more than noise, which do not, and which may."""
    beyond, uncorrected, within, untested = [], [], [], []
    for cell in table.cells:
        if not cell.comparison:
            continue
        name = f"“{cell.label}”"
        difference = cell.comparison
        if difference.holm_p is None or difference.reach is None:
            untested.append(name)
        elif cell.differs_from_base:
            missed = describe_missed(difference)
            beyond.append(f"{name}: {points(difference.mean)} points; {missed}.")
        elif difference.within_noise:
            within.append(f"{name} {percent(difference.reach)}")
        else:
            uncorrected.append(f"{name} {points(difference.mean)}")
    tests = len(beyond) + len(uncorrected) + len(within)
    if tests:
        yield (
            f"Beyond noise from “{table.base.label}” ({format_mean(table.base.score, ' %')}), "
            f"corrected for {amount(tests, 'test')} (Holm): {len(beyond)} of "
            f"{amount(tests, 'cell')}."
        )
    yield from beyond
    if uncorrected:
        yield (
            "Beyond noise by their own intervals, but not once corrected for the number of tests, "
            f"with their differences in points: {', '.join(uncorrected)}."
        )
    if within:
        yield (
            "Within noise, which does not mean equal, each with the true difference in points that "
            f"would be missed half the time: {', '.join(within)}."
        )
    if untested:
        yield f"Not tested against “{table.base.label}”: {', '.join(untested)}."


def _verdict_on_rates(table: AblationTable) -> Iterator[str]:
    """Yield the cells whose best rate is at an edge of those tried, or was before the grid grew."""
    extended = [
        f"of “{cell.label}” to {_format_rates(cell, cell.added_rates)}"
        for cell in table.cells
        if cell.added_rates
    ]
    if extended:
        yield (
            "The best learning rate was the lowest or highest tried, so that the grid was "
            f"extended: {', '.join(extended)}."
        )
    for edge in ("lowest", "highest"):
        at_edge = []
        for cell in table.cells:
            kinds = [kind for kind, edge_of_kind in cell.rate_edges.items() if edge_of_kind == edge]
            name = f"“{cell.label}”"
            if len(kinds) < len(cell.settings.rates):
                name += f" ({', '.join(kinds)})"
            if kinds:
                at_edge.append(name)
        if at_edge:
            yield (
                f"At the {edge} of the learning rates tried, so that more might help: "
                f"{', '.join(at_edge)}."
            )


def _verdict_on_sensitivity(table: AblationTable) -> Iterator[str]:
    """Yield whether what was known of single sites before training ranked them as training did."""
    ranking = table.sensitivity_ranking
    if not ranking or not ranking.interval:
        return
    low, high = ranking.interval
    finding = "here this is not shown to tell which sites to train"
    if low > 0:
        finding = "here sites that could gain more did better"
    if high < 0:
        finding = "here sites that could gain more did worse"
    yield (
        f"Sensitivity was known before training. Its rank correlation with the {table.split} score "
        f"over {ranking.n} single sites (Spearman’s rho; 0 is no relation) is "
        f"{format_correlation(ranking.rho)}, 95 % interval {format_correlation(low)} to "
        f"{format_correlation(high)}: {finding}. The interval supposes that sites do not depend "
        "on each other, and says nothing of other images."
    )


def _format_rates(cell: Cell, rates: Mapping[str, tuple[float, ...]]) -> str:
    """Return rates by kind as text, without the kinds if they are the same for all of a cell's."""
    texts = {kind: ", ".join(map(format_rate, values)) for kind, values in rates.items()}
    distinct = set(texts.values())
    if texts.keys() == cell.settings.rates.keys() and len(distinct) == 1:
        return distinct.pop()
    return " and ".join(f"{kind} {text}" for kind, text in texts.items())


def cell_table(table: AblationTable) -> Table:
    """Return the scores of the cells, in percent and percentage points."""
    score = table.metric if table.parts else table.split
    header = ["cell", *score_header(table.parts, score)]
    if table.shows_balanced:
        header.append("balanced %")
    header += ["Δ base cell", "p", "seeds"]
    note = (
        "± and [ ] are 95 % intervals. Δ are paired differences in percentage points over "
        "common seeds; any p is corrected for the number of tests (Holm); s is seconds. "
    )
    if table.sensitivities:
        header.append("sensitivity %")
        note += SENSITIVITY_NOTE
    header += ["trainable", "s"]
    scores = {cell.label: cell.score for cell in table.cells}
    return Table(
        f"Ablation: {table.split} {table.metric}, %",
        header,
        [_cell_row(table, cell) for cell in table.cells],
        note=note + " ".join(interval_scope(table.resampled, scores)),
    )


def _cell_row(table: AblationTable, cell: Cell) -> list[object]:
    name = cell.label
    if name == table.base.label != BASE:
        name += " (base)"
    row: list[object] = [name, *score_cells(table.parts, cell.parts, cell.score)]
    if table.shows_balanced:
        row.append(format_mean(cell.balanced))
    row += comparison_cells(cell.comparison)
    seconds = None if cell.seconds is None else f"{cell.seconds:.0f}"
    row.append(len(cell.scores))
    if table.sensitivities:
        row.append(percent(cell.sensitivity))
    row += [format_count(cell.trainable), seconds]
    return row


def setting_table(table: AblationTable) -> Table:
    """Return each cell's subset, learning rates and λ."""
    rows = [
        [cell.label, cell.settings.subset, *setting_cells(cell.settings)] for cell in table.cells
    ]
    header = ["cell", "subset", *setting_header()]
    return Table("Cells", header, rows, left=2, note=SETTING_NOTE)


def _all_tables(table: AblationTable) -> list[Table]:
    """Return the table of cells, that of pairs of sites if there are any, and that of settings."""
    tables = [cell_table(table)]
    if table.interactions:
        tables.append(interaction_table(table.interactions))
    tables.append(setting_table(table))
    return tables


def render_ablation(table: AblationTable) -> Group:
    """Return the ablation as tables for the terminal, with its verdict."""
    blocks: list[Table | Text] = []
    for block in _all_tables(table):
        blocks += [block, Text(block.note, style="dim")]
    blocks += [Text(sentence) for sentence in ablation_verdict(table)]
    return Group(*blocks)


def ablation_markdown(table: AblationTable) -> str:
    """Return the ablation as Markdown: verdict, scores, pairs of sites, settings."""
    tables = _all_tables(table)
    for index in (0, -1):  # pairs of sites alone need a heading
        tables[index] = replace(tables[index], title="")
    blocks = [markdown_text(" ".join(ablation_verdict(table)))]
    blocks += [block.markdown() for block in tables]
    return "\n\n".join(blocks) + "\n"


def ablation_csv(table: AblationTable) -> str:
    """Return the ablation as CSV: fractions in full precision, one row per cell."""
    return Table.from_records(ablation_records(table)).csv()


def ablation_records(table: AblationTable) -> list[dict[str, object]]:
    """Return the ablation as records: one per cell, with the columns of its CSV."""
    return [_cell_record(table, cell) for cell in table.cells]


def _cell_record(table: AblationTable, cell: Cell) -> dict[str, object]:
    means = {"score": cell.score, "balanced": cell.balanced}
    for part in PARTS + table.parts:
        means[part] = cell.parts.get(part)
    comparison = cell.comparison
    means["difference"] = comparison
    added = {kind: ", ".join(map(repr, rates)) for kind, rates in cell.added_rates.items()}
    return {
        "label": cell.label,
        "base_label": table.base.label,
        "split": table.split,
        **cell.settings.column_values(),
        "trainable": cell.trainable,
        "sensitivity": cell.sensitivity,
        "seeds": len(cell.scores),
        "chance": table.chance,
        "seconds": cell.seconds,
        **interval_columns(means),
        **p_columns(comparison),
        "edges": _join_kinds(cell.rate_edges),
        "added": _join_kinds(added),
    }


def _join_kinds(texts: Mapping[str, str]) -> str | None:
    """Return the text of each kind of parameter as one text; None if there is none."""
    return "; ".join(f"{kind}: {text}" for kind, text in texts.items()) or None


def write_ablation(folder: Path, table: AblationTable) -> list[Path]:
    """Write `ablation.csv`, `ablation.md` and the plots into the study's folder.

    If the cells are pairs of sites, `interactions.csv` has a row for each pair.

    Returns:
        The paths of the written files.
    """
    files = {
        folder / "ablation.csv": ablation_csv(table),
        folder / "ablation.md": ablation_markdown(table),
    }
    if table.interactions:
        records = [interaction_record(pair) for pair in table.interactions]
        files[folder / "interactions.csv"] = Table.from_records(records).csv()
    for path, text in files.items():
        write_atomically(path, text)
    return [*files, *write_plots(folder, ablation_plots(table))]
