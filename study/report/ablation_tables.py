"""An ablation's cells against its base: table, verdict, charts, and their files."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

from rich.console import Group
from rich.text import Text

from study.config.schema import AblationConfig
from study.errors import DataError
from study.method.subsets import Term, parse
from study.report.charts import (
    GREY,
    ORANGE,
    PANEL_WIDTH,
    Axis,
    Chart,
    Panel,
    Series,
    write_plots,
)
from study.report.formatting import (
    WORDS,
    Table,
    comparison_cells,
    count,
    estimate_columns,
    guessing,
    interval,
    markdown_text,
    missed,
    p_values,
    percent,
    points,
    rate,
    score_cells,
    score_header,
    setting_cells,
    setting_header,
)
from study.report.interaction_tables import interaction_table, record_of_pair, verdict_on_pairs
from study.report.interactions import Interaction, SiteCell, beyond_noise, interactions
from study.report.scope import read_by_others, scope
from study.results.intervals import Estimate
from study.results.leaderboard import Configuration, estimates
from study.results.resampling import Resampled, resample
from study.results.shared_test import other_readers
from study.results.statistics import (
    Comparison,
)
from study.results.study_results import PARTS, Results, TrialResult
from study.selection.chance import BALANCED
from study.storage.atomic import write_atomically
from study.trial import Split
from study.trial.predictions import images_of

BASE = "base"
"""The label of the cell that the others are compared with by default."""


@dataclass(frozen=True)
class Cell(Configuration):
    """One subset of an ablation."""

    score: Estimate
    """The mean of `scores` and its interval."""
    balanced: Estimate | None
    """The same with the mean recall of classes for the accuracy; None where it is not shown."""
    seconds: float | None
    """The mean duration of a trial in seconds; None when no trial recorded one."""
    comparison: Comparison | None
    """The difference to the base cell over common seeds; None for the base itself."""
    edges: Mapping[str, str]
    """Where the learning rate of each kind stands among several tried, "lowest" or "highest".

    A kind whose rate is in between, or was no choice, is left out.
    """
    added: Mapping[str, tuple[float, ...]]
    """The rates of each kind that were tried beyond the configured ones, lowest first."""

    @property
    def beyond_noise(self) -> bool:
        """Whether the cell differs from the base, by its interval and after Holm's correction."""
        return beyond_noise(self.comparison)


@dataclass(frozen=True)
class AblationTable:
    """The cells of an ablation, best mean first."""

    base: Cell
    """The cell that all others are compared with."""
    split: Split
    """The images that the scores were measured on."""
    parts: tuple[str, ...]
    """The parts of a score that are shown beside it; empty if it has none."""
    metric: str
    """What the score is called: "accuracy", or "hmean" of its parts."""
    cells: tuple[Cell, ...]
    """The cells that have a score, with the base."""
    chance: float | None
    """The balanced test score of guessing, a fraction.

    None where nothing was tested, or no trial kept its counts of classes.
    """
    guess: str
    """What that supposes; it continues "would score"."""
    scope: tuple[str, ...] = ()
    """Sentences on what the intervals hold for."""
    interactions: tuple[Interaction, ...] = ()
    """The interactions of pairs of sites, largest first; empty in other designs."""
    other_readers: int = 0
    """How many other studies of the storage were tested on images of this one's test."""

    @property
    def balanced(self) -> bool:
        """Whether balanced scores are shown beside the scores."""
        return any(cell.balanced is not None for cell in self.cells)


def ablation_table(results: Results, base_label: str = BASE) -> AblationTable:
    """Compare the cells of an ablation with its base.

    The table holds test scores if any trial has one, else validation scores; it never mixes them.

    Args:
        results: the results of the study.
        base_label: the label of the cell to compare with.

    Raises:
        DataError: no cell with the label `base_label` has a score.
    """
    ablated = results.stage("ablation")
    split: Split = "test" if any(t.test_score is not None for t in ablated) else "val"
    finished = [
        trial
        for trial in ablated
        if trial.status == "finished" and trial.scores(split).get("score") is not None
    ]
    scored = {
        label: [trial for trial in finished if trial.label == label]
        for label in dict.fromkeys(trial.label for trial in finished)
    }
    if base_label not in scored:
        raise DataError(
            f"base cell '{base_label}' has no score; cells with one: "
            f"{', '.join(sorted(scored)) or 'none'}"
        )
    scores = {
        label: {trial.seed: trial.scores(split)["score"] or 0.0 for trial in seeds}
        for label, seeds in scored.items()
    }
    # Predictions are of test images, so that validation scores have an interval over seeds alone.
    predicted = finished if split == "test" else []
    resampled = resample(predicted, results.protocol, shared=results.shared)
    comparisons = resampled.compare(scores, base_label)
    ablation = results.study.config.ablation
    balanced = [name for name in results.beside if name == BALANCED]
    cells = []
    for label, seeds in scored.items():
        first, seconds = seeds[0], [t.seconds for t in seeds if t.seconds is not None]
        tried = _tried(first, results.stage("search"))
        cells.append(
            Cell(
                label=label,
                settings=first.settings,
                trainable=first.trainable,
                scores=scores[label],
                score=estimates(seeds, ("score",), resampled, split)["score"],
                balanced=estimates(seeds, balanced, resampled, split).get(BALANCED),
                parts=estimates(seeds, results.parts, resampled, split),
                seconds=sum(seconds) / len(seconds) if seconds else None,
                comparison=comparisons.get(label),
                edges=_edges(first, tried),
                added=_added(tried, ablation),
            )
        )
    return AblationTable(
        base=next(cell for cell in cells if cell.label == base_label),
        split=split,
        parts=results.parts,
        metric=results.metric,
        cells=tuple(sorted(cells, key=lambda cell: -cell.score.mean)),
        chance=next((trial.chance for trial in ablated if trial.chance is not None), None),
        guess=results.protocol.guess,
        scope=scope(
            resampled,
            {cell.label: cell.score for cell in cells},
            {f"Δ {label}": found.paired.difference for label, found in comparisons.items()},
        ),
        interactions=_interactions(cells, results, split, resampled),
        other_readers=other_readers(results),
    )


def ablation_verdict(table: AblationTable) -> tuple[str, ...]:
    """Return sentences that name the cells beyond noise, within noise and at an edge of rates.

    They also name the cells with extended grids, and the pairs of sites that interact.
    """
    named = {
        "The best learning rate was the lowest or highest tried, so that the grid was extended": [
            f"of “{cell.label}” to {_spelt(cell, cell.added)}" for cell in table.cells if cell.added
        ],
        **{
            f"At the {edge} of the learning rates tried, so that more might help": [
                f"“{cell.label}”"
                + (f" ({', '.join(at)})" if len(at) < len(cell.settings.rates) else "")
                for cell in table.cells
                if (at := [kind for kind, found in cell.edges.items() if found == edge])
            ]
            for edge in ("lowest", "highest")
        },
    }
    return (
        *_base_chosen_after_test(table),
        *_verdict_on_cells(table),
        *(f"{found}: {', '.join(cells)}." for found, cells in named.items() if cells),
        *verdict_on_pairs(table.interactions),
        *guessing(table.chance, guess=table.guess),
        *filter(None, [read_by_others(table.other_readers)]),
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
        elif cell.beyond_noise:
            beyond.append(f"“{cell.label}”: {points(found.mean)} points; {missed(found)}.")
        else:
            within.append(f"“{cell.label}” {percent(found.reach)}")
    tests = len(beyond) + len(within)
    if tests:
        yield (
            f"{len(beyond)} of {tests} cells differ from “{table.base.label}” "
            f"({interval(table.base.score)} %) beyond noise, corrected for {tests} tests (Holm)."
        )
    yield from beyond
    if within:
        yield (
            "Within noise, which does not mean equal, each with the true difference in points that "
            f"would be missed half the time: {', '.join(within)}."
        )
    if untested:
        yield f"Not tested against “{table.base.label}”: {', '.join(untested)}."


def _tried(cell: TrialResult, searched: Sequence[TrialResult]) -> dict[str, list[float]]:
    """Return the rates that were tried of each kind that a cell tunes, each once, lowest first."""
    alike = [trial.settings.rates for trial in searched if trial.subset_key == cell.subset_key]
    return {
        kind: sorted({rates[kind] for rates in alike if kind in rates})
        for kind in cell.settings.rates
    }


def _edges(cell: TrialResult, tried: Mapping[str, list[float]]) -> dict[str, str]:
    """Return what `Cell.edges` is, of the rates that were tried of each kind."""
    ends = ((kind, rates[0], rates[-1]) for kind, rates in tried.items() if len(rates) > 1)
    return {
        kind: "lowest" if chosen == low else "highest"
        for kind, low, high in ends
        if (chosen := cell.settings.rates[kind]) in (low, high)
    }


def _added(
    tried: Mapping[str, list[float]], ablation: AblationConfig | None
) -> dict[str, tuple[float, ...]]:
    """Return what `Cell.added` is; empty where no configuration says what was planned."""
    planned = {kind: ablation.rates_of(kind) if ablation else () for kind in tried}
    return {
        kind: more
        for kind, rates in tried.items()
        if planned[kind] and (more := tuple(rate for rate in rates if rate not in planned[kind]))
    }


def _spelt(cell: Cell, rates: Mapping[str, tuple[float, ...]]) -> str:
    """Return rates by kind as text, without the kinds if they are the same for all of a cell's."""
    texts = {kind: ", ".join(map(rate, own)) for kind, own in rates.items()}
    if texts.keys() == cell.settings.rates.keys() and len({*texts.values()}) == 1:
        return next(iter(texts.values()))
    return " and ".join(f"{kind} {text}" for kind, text in texts.items())


def _interactions(
    cells: Sequence[Cell], results: Results, split: Split, resampled: Resampled
) -> tuple[Interaction, ...]:
    """Return the interactions of the sites that an ablation pairs; none in other designs."""
    ablation = results.study.config.ablation
    if ablation is None or ablation.design != "pairs":
        return ()
    # Sites that are not listed are single ones of the base, so cells of one term.
    sites = ablation.sites or [c.settings.subset for c in cells if only_term(c.settings.subset)]
    return interactions([_site_cell(cell, results, split) for cell in cells], sites, resampled)


def _site_cell(cell: Cell, results: Results, split: Split) -> SiteCell:
    """Return what the interactions of sites need of a cell."""
    trials = [t for t in results.stage("ablation") if t.label == cell.label]
    tested = [trial for trial in trials if trial.seed in cell.scores]
    # Without parts, the score is the accuracy on all images.
    names = results.parts or ("score",)
    parts: dict[str, dict[int, float]] = {name: {} for name in names}
    for trial in tested:
        for name in names:
            parts[name][trial.seed] = trial.scores(split).get(name) or 0.0
    counted = images_of(tested[0].confusion)
    images: Counter[str] = Counter()
    for (part, _), number in counted.items():
        images[part if results.parts else "score"] += number
    return SiteCell(
        label=cell.label,
        subset=cell.settings.subset,
        scores=cell.scores,
        parts=parts,
        images=images,
        val_score=_validated(tested[0], results.stage("search")),
    )


def _validated(cell: TrialResult, searched: Sequence[TrialResult]) -> float | None:
    """Return the validation score of a cell at its rates; None where nothing was validated."""
    scores = []
    for trial in searched:
        alike = trial.subset_key == cell.subset_key and trial.settings.rates == cell.settings.rates
        if alike and trial.status == "finished" and trial.val_score is not None:
            scores.append(trial.val_score)
    return max(scores, default=None)


def cell_table(table: AblationTable) -> Table:
    """Return the scores of the cells, in percent and percentage points."""
    return Table(
        f"Ablation: {table.split} {table.metric}, %",
        [
            "cell",
            *score_header(table.parts, table.metric if table.parts else table.split),
            *(["balanced %"] if table.balanced else []),
            *("Δ base cell", "p", "seeds", "trainable", "s"),
        ],
        [
            [
                f"{cell.label} (base)" if cell.label == table.base.label != BASE else cell.label,
                *score_cells(table.parts, cell.parts, cell.score),
                *([interval(cell.balanced)] if table.balanced else []),
                *comparison_cells(cell.comparison),
                len(cell.scores),
                count(cell.trainable),
                None if cell.seconds is None else f"{cell.seconds:.0f}",
            ]
            for cell in table.cells
        ],
        note="± and [ ] are 95 % intervals over seeds and test images together. Δ are paired "
        "differences in percentage points over common seeds; p is corrected for the number of "
        "tests (Holm); s is seconds. " + " ".join(table.scope),
    )


def setting_table(table: AblationTable) -> Table:
    """Return each cell's subset, learning rates and λ."""
    return Table(
        "Cells",
        ["cell", "subset", *setting_header()],
        [[cell.label, cell.settings.subset, *setting_cells(cell.settings)] for cell in table.cells],
        left=2,
        note=WORDS,
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
    return Table.of([_record(table, cell) for cell in table.cells]).csv()


def _record(table: AblationTable, cell: Cell) -> dict[str, object]:
    return {
        "label": cell.label,
        "base_label": table.base.label,
        "split": table.split,
        **cell.settings.flat(),
        "trainable": cell.trainable,
        "seeds": len(cell.scores),
        "chance": table.chance,
        "seconds": cell.seconds,
        **estimate_columns(
            {
                "score": cell.score,
                "balanced": cell.balanced,
                **{part: cell.parts.get(part) for part in (*PARTS, *table.parts)},
                "difference": cell.comparison.paired.difference if cell.comparison else None,
            }
        ),
        **p_values(cell.comparison),
        "edges": _by_kind(cell.edges),
        "added": _by_kind({k: ", ".join(map(repr, own)) for k, own in cell.added.items()}),
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
        write_atomically(paths[-1], Table.of([*map(record_of_pair, table.interactions)]).csv())
    return (*paths, *write_plots(folder, ablation_plots(table)))


def ablation_plots(table: AblationTable) -> tuple[Chart, ...]:
    """Return the forest plot and, where cells vary single terms, the layer × site map."""
    return _forest_chart(table), _map_chart(table)


def only_term(subset: str) -> Term | None:
    """Return the only term of a subset that just adds this term, else None."""
    return left_out_term("none", base=subset)


def left_out_term(subset: str, base: str) -> Term | None:
    """Return the term that a subset leaves out, if that is its only difference to the base."""
    terms, base_terms = parse(subset).terms, parse(base).terms
    # To take a term away leaves it out just as not to add it does.
    differences = [(-sign, term) for sign, term in terms if (sign, term) not in base_terms]
    differences += [signed for signed in base_terms if signed not in terms]
    return differences[0][1] if [sign for sign, _ in differences] == [1] else None


def _forest_chart(table: AblationTable) -> Chart:
    # From bottom to top, so that the best cell is the uppermost.
    cells = [cell for cell in reversed(table.cells) if cell.comparison]
    rows = [(y, cell, cell.comparison) for y, cell in enumerate(cells) if cell.comparison]
    series = (
        Series(
            name,
            [100 * comparison.paired.difference.mean for *_, comparison in shown],
            [y for y, *_ in shown],
            color=color,
            x_error=[100 * (c.paired.difference.reach or 0.0) for *_, c in shown],
        )
        for name, color, shown in (
            ("beyond noise", ORANGE, [row for row in rows if row[1].beyond_noise]),
            ("within noise", GREY, [row for row in rows if not row[1].beyond_noise]),
        )
    )
    return Chart(
        "ablation-forest",
        f"Difference of each cell to “{table.base.label}”",
        "Paired differences over common seeds with 95 % intervals, not corrected for their "
        "number. Grey cells are within noise once corrected for the number of tests (Holm).",
        (
            Panel(
                Axis(f"difference of the {table.split} score, percentage points", line=0.0),
                Axis("", names=[cell.label for cell in cells]),
                tuple(series),
            ),
        ),
        otherwise="the base cell is the only one with a score",
        width=7.0,
        height=1.5 + 0.32 * len(cells),
    )


def _map_chart(table: AblationTable) -> Chart:
    # All fields of a map must mean the same, so take the reading that fits more cells.
    fields = {
        meaning: {
            (f"{term.encoder}.{term.site}", term.layers): 100 * c.paired.difference.mean
            for cell in table.cells
            if (c := cell.comparison) and (term := read(cell.settings.subset))
        }
        for meaning, read in (
            ("tunes a site in these layers alone", only_term),
            (
                "leaves a site in these layers out",
                lambda subset: left_out_term(subset, table.base.settings.subset),
            ),
        )
    }
    meaning, values = max(fields.items(), key=lambda item: len(item[1]))
    sites = sorted({site for site, _ in values}, reverse=True)
    windows = sorted(
        {layers for _, layers in values},
        key=lambda layers: [inf if end is None else end for end in layers or (-inf, 0)],
    )
    cells = Series(
        "difference",
        [windows.index(layers) for _, layers in values],
        [sites.index(site) for site, _ in values],
        style="cells",
        values=list(values.values()),
    )
    return Chart(
        "ablation-map",
        "Layers and sites",
        f"Mean difference to “{table.base.label}”, in percentage points, of the cell that "
        f"{meaning}: blue is better, red is worse. Colour tells size, not certainty: for that see "
        "the forest.",
        (
            Panel(
                Axis(
                    "layers",
                    names=[
                        ":".join("" if end is None else str(end) for end in layers or ("all",))
                        for layers in windows
                    ],
                ),
                Axis("", names=sites),
                (cells,) if len(values) > 1 else (),
            ),
        ),
        otherwise="too few cells vary a single term",
        width=max(PANEL_WIDTH, 3.6 + 0.7 * len(windows)),
        height=1.4 + 0.34 * len(sites),
    )
