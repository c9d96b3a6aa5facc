"""An ablation's cells against its base: table, verdict, and their files."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Group
from rich.text import Text

from study.report.ablation_charts import ablation_plots
from study.report.charts import (
    write_plots,
)
from study.report.formatting import (
    SETTING_NOTE,
    Table,
    chance_sentences,
    comparison_cells,
    describe_missed,
    format_count,
    format_mean,
    format_rate,
    interval_columns,
    markdown_text,
    p_values,
    percent,
    points,
    score_cells,
    score_header,
    setting_cells,
    setting_header,
)
from study.report.interaction_tables import interaction_table, record_of_pair, verdict_on_pairs
from study.report.scope import interval_scope, other_readers_sentence
from study.results.ablation import BASE, AblationTable, Cell
from study.results.study_results import PARTS
from study.storage.atomic import write_atomically


def ablation_verdict(table: AblationTable) -> tuple[str, ...]:
    """Return sentences that name the cells beyond noise, within noise and at an edge of rates.

    They also name the cells with extended grids, and the pairs of sites that interact.
    """
    named = {
        "The best learning rate was the lowest or highest tried, so that the grid was extended": [
            f"of “{cell.label}” to {_spelt(cell, cell.added_rates)}"
            for cell in table.cells
            if cell.added_rates
        ],
        **{
            f"At the {edge} of the learning rates tried, so that more might help": [
                f"“{cell.label}”"
                + (f" ({', '.join(at)})" if len(at) < len(cell.settings.rates) else "")
                for cell in table.cells
                if (at := [kind for kind, found in cell.rate_edges.items() if found == edge])
            ]
            for edge in ("lowest", "highest")
        },
    }
    return (
        *_base_chosen_after_test(table),
        *_verdict_on_cells(table),
        *(f"{found}: {', '.join(cells)}." for found, cells in named.items() if cells),
        *verdict_on_pairs(table.interactions),
        *chance_sentences(table.chance, guess=table.protocol.guess),
        *filter(None, [other_readers_sentence(table.other_readers)]),
        *(["These are validation scores; nothing was tested."] if table.split == "val" else ()),
    )


def _base_chosen_after_test(table: AblationTable) -> Iterator[str]:
    """Yield that the base is not the study's own, which was fixed before anything was tested."""
    if table.base.label != BASE and table.split == "test":
        yield (
            f"“{table.base.label}” was made the base after the cells had been tested: which cell "
            "is the base may have been chosen by its test score, so take these differences and "
            f"their p as a description. The base that was fixed before is “{BASE}”."
        )


def _verdict_on_cells(table: AblationTable) -> Iterator[str]:
    """Yield which cells differ from the base by more than noise, which do not, and which may."""
    beyond, within, untested = [], [], []
    for cell in table.cells:
        if cell.comparison is None:
            continue
        found = cell.comparison.paired.difference
        if cell.comparison.holm_p is None or found.reach is None:
            untested.append(f"“{cell.label}”")
        elif cell.differs_from_base:
            beyond.append(f"“{cell.label}”: {points(found.mean)} points; {describe_missed(found)}.")
        else:
            within.append(f"“{cell.label}” {percent(found.reach)}")
    tests = len(beyond) + len(within)
    if tests:
        yield (
            f"{len(beyond)} of {tests} cells differ from “{table.base.label}” "
            f"({format_mean(table.base.score)} %) beyond noise, corrected for {tests} tests (Holm)."
        )
    yield from beyond
    if within:
        yield (
            "Within noise, which does not mean equal, each with the true difference in points that "
            f"would be missed half the time: {', '.join(within)}."
        )
    if untested:
        yield f"Not tested against “{table.base.label}”: {', '.join(untested)}."


def _spelt(cell: Cell, rates: Mapping[str, tuple[float, ...]]) -> str:
    """Return rates by kind as text, without the kinds if they are the same for all of a cell's."""
    texts = {kind: ", ".join(map(format_rate, own)) for kind, own in rates.items()}
    if texts.keys() == cell.settings.rates.keys() and len({*texts.values()}) == 1:
        return next(iter(texts.values()))
    return " and ".join(f"{kind} {text}" for kind, text in texts.items())


def cell_table(table: AblationTable) -> Table:
    """Return the scores of the cells, in percent and percentage points."""
    return Table(
        f"Ablation: {table.split} {table.metric}, %",
        [
            "cell",
            *score_header(table.parts, table.metric if table.parts else table.split),
            *(["balanced %"] if table.shows_balanced else []),
            *("Δ base cell", "p", "seeds", "trainable", "s"),
        ],
        [
            [
                f"{cell.label} (base)" if cell.label == table.base.label != BASE else cell.label,
                *score_cells(table.parts, cell.parts, cell.score),
                *([format_mean(cell.balanced)] if table.shows_balanced else []),
                *comparison_cells(cell.comparison),
                len(cell.scores),
                format_count(cell.trainable),
                None if cell.seconds is None else f"{cell.seconds:.0f}",
            ]
            for cell in table.cells
        ],
        note="± and [ ] are 95 % intervals over seeds and test images together. Δ are paired "
        "differences in percentage points over common seeds; p is corrected for the number of "
        "tests (Holm); s is seconds. " + " ".join(ablation_scope(table)),
    )


def ablation_scope(table: AblationTable) -> tuple[str, ...]:
    """Return sentences on what the intervals of an ablation hold for."""
    by_label = {cell.label: cell for cell in table.cells}
    scores, differences = {}, {}
    for label in table.order:
        cell = by_label[label]
        scores[label] = cell.score
        if cell.comparison is not None:
            differences[f"Δ {label}"] = cell.comparison.paired.difference
    return interval_scope(table.resampled, scores, differences)


def setting_table(table: AblationTable) -> Table:
    """Return each cell's subset, learning rates and λ."""
    return Table(
        "Cells",
        ["cell", "subset", *setting_header()],
        [[cell.label, cell.settings.subset, *setting_cells(cell.settings)] for cell in table.cells],
        left=2,
        note=SETTING_NOTE,
    )


def render_ablation(table: AblationTable) -> Group:
    """Return the ablation as tables for the terminal, with its verdict."""
    tables = [cell_table(table), setting_table(table)]
    tables[1:1] = [interaction_table(table.interactions)] if table.interactions else []
    shown: list[Table | Text] = []
    for one in tables:
        shown += [one, Text(one.note, style="dim")]
    return Group(*shown, *(Text(sentence) for sentence in ablation_verdict(table)))


def ablation_markdown(table: AblationTable) -> str:
    """Return the ablation as Markdown: verdict, scores, pairs of sites, settings."""
    tables = [replace(one, title="") for one in (cell_table(table), setting_table(table))]
    tables[1:1] = [interaction_table(table.interactions)] if table.interactions else []
    blocks = (markdown_text(" ".join(ablation_verdict(table))), *(t.markdown() for t in tables))
    return "\n\n".join(blocks) + "\n"


def to_csv(table: AblationTable) -> str:
    """Return the ablation as CSV: fractions in full precision, one row per cell."""
    return Table.from_records([_record(table, cell) for cell in table.cells]).csv()


def _record(table: AblationTable, cell: Cell) -> dict[str, object]:
    return {
        "label": cell.label,
        "base_label": table.base.label,
        "split": table.split,
        **cell.settings.column_values(),
        "trainable": cell.trainable,
        "seeds": len(cell.scores),
        "chance": table.chance,
        "seconds": cell.seconds,
        **interval_columns(
            {
                "score": cell.score,
                "balanced": cell.balanced,
                **{part: cell.parts.get(part) for part in (*PARTS, *table.parts)},
                "difference": cell.comparison.paired.difference if cell.comparison else None,
            }
        ),
        **p_values(cell.comparison),
        "edges": _by_kind(cell.rate_edges),
        "added": _by_kind({k: ", ".join(map(repr, own)) for k, own in cell.added_rates.items()}),
    }


def _by_kind(texts: Mapping[str, str]) -> str | None:
    return "; ".join(f"{kind}: {text}" for kind, text in texts.items()) or None


def write_ablation(folder: Path, table: AblationTable) -> tuple[Path, ...]:
    """Write `ablation.csv`, `ablation.md` and the plots into the study's folder.

    If the cells are pairs of sites, `interactions.csv` has a row for each pair.

    Returns:
        The paths of the written files.
    """
    paths = [folder / "ablation.csv", folder / "ablation.md"]
    write_atomically(paths[0], to_csv(table))
    write_atomically(paths[1], ablation_markdown(table))
    if table.interactions:
        paths.append(folder / "interactions.csv")
        records = [record_of_pair(pair) for pair in table.interactions]
        write_atomically(paths[-1], Table.from_records(records).csv())
    return (*paths, *write_plots(folder, ablation_plots(table)))
