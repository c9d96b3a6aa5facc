"""Numbers and tables as text, worded the same for terminal, Markdown and report.

Arguments are fractions; texts have scores in percent and differences in percentage points. A table
is shown on the terminal, as Markdown and as CSV; the report's template shows its `texts` as HTML.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import rich.table
from rich.markup import escape

from study.analysis.statistics import Comparison, Estimate, PairedDifference
from study.config.settings import Settings
from study.method.parameters import all_kinds, kind_names

SIGNIFICANCE = 0.05
"""The largest Holm-corrected p that counts as more than noise."""

# Entities where a backslash does not help: MLflow's reader takes `\<` for the start of a tag, up to
# the next `>`, and shows tables in between as one paragraph; it ignores `\@`, and GitHub `\$`.
_MARKDOWN = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\|*_`[~"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;", "\n": " ", "\r": " "}
)


@dataclass(frozen=True)
class Table:
    """A table; `rich` prints it as it is."""

    title: str
    """What the table shows; may be empty."""
    header: Sequence[str]
    """The names of the columns."""
    rows: Sequence[Sequence[object]]
    """The cells of each row: text, or values, which CSV holds in full precision."""
    left: int = 1
    """The number of leading columns that hold words and are aligned left, others right."""
    marked: int | None = None
    """The index of the row that HTML highlights, if any."""
    note: str = ""
    """A sentence below the table in Markdown; may be empty."""

    @classmethod
    def of(cls, records: Sequence[Mapping[str, object]]) -> Table:
        """Return the table of records that all have the columns of the first."""
        return cls(
            title="",
            header=[name for record in records[:1] for name in record],
            rows=[list(record.values()) for record in records],
        )

    @property
    def texts(self) -> list[list[str]]:
        """The cells as they are shown: an unknown value is a dash."""
        return [["–" if cell is None else str(cell) for cell in row] for row in self.rows]

    def split(self, at: int, title: str) -> tuple[Table, Table]:
        """Return the columns before `at`, and under another title the others, beside the first."""
        return (
            replace(self, header=self.header[:at], rows=[row[:at] for row in self.rows]),
            replace(
                self,
                title=title,
                header=[*self.header[:1], *self.header[at:]],
                rows=[[*row[:1], *row[at:]] for row in self.rows],
            ),
        )

    def __rich__(self) -> rich.table.Table:
        """Return the table for the terminal."""
        columns = (
            rich.table.Column(
                name, justify="left" if index < self.left else "right", overflow="fold"
            )
            for index, name in enumerate(self.header)
        )
        table = rich.table.Table(
            *columns, title=self.title, title_justify="left", title_style="bold"
        )
        for row in self.texts:
            table.add_row(*map(escape, row))
        return table

    def markdown(self) -> str:
        """Return the title as a heading, the table of escaped cells, and the note."""
        cells = ([markdown_text(cell) for cell in row] for row in self.texts)
        rows = (self.header, ["---"] * len(self.header), *cells)
        lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        heading = self.title and f"## {markdown_text(self.title)}"
        return "\n\n".join(filter(None, (heading, lines, markdown_text(self.note))))

    def csv(self) -> str:
        """Return the table as CSV, for other programs."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()


def markdown_text(text: str) -> str:
    """Return text escaped so that Markdown readers show it unchanged, on one line."""
    return text.translate(_MARKDOWN)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as percent, without the percent sign."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def interval(value: Estimate | None) -> str:
    """Return mean ± half the 95 % interval in percent; a single seed is marked, as it has none."""
    if value is None:
        return "–"
    spread = "(1 seed)" if value.half_width is None else f"± {percent(value.half_width)}"
    return f"{percent(value.mean)} {spread}"


def points(value: float) -> str:
    """Return a difference of fractions as signed percentage points."""
    # Adding 0.0 turns -0.0 into 0.0.
    rounded = round(100 * value, 1) + 0.0
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def difference(paired: PairedDifference) -> str:
    """Return the mean difference with its interval, in percentage points."""
    return spelt(paired.difference, "{} [{}, {}]", "{} (1 seed)")


def spelt(
    found: Estimate,
    form: str = "{} points (95 % interval {} to {})",
    single: str = "{} points (1 seed, so no interval)",
) -> str:
    """Return a mean difference with its interval, in percentage points and by default in words.

    Args:
        found: the difference.
        form: a format for the mean and the ends of its interval.
        single: a format for a mean without an interval.
    """
    ends = (
        () if found.low is None or found.high is None else (points(found.low), points(found.high))
    )
    return (form if ends else single).format(points(found.mean), *ends)


def probability(p: float | None) -> str:
    """Return a p value with three decimals, or as “<0.001”."""
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def rate(value: float | None) -> str:
    """Return a learning rate or loss weight with three significant digits."""
    return "–" if value is None else f"{value:.3g}"


def setting_header() -> tuple[str, ...]:
    """Return the head of the columns of `setting_cells`."""
    return (*(f"{kind.short} lr" for kind in all_kinds()), "λ")


def setting_cells(settings: Settings, trainable: int | None) -> tuple[str, ...]:
    """Return the learning rate of each kind of parameter, and λ."""
    return (
        *(rate(settings.rates.get(kind)) for kind in kind_names()),
        # Without trainable parameters there is no loss to weight.
        rate(settings.distill_weight if trainable else None),
    )


def score_header(parts: Sequence[str], score: str) -> tuple[str, ...]:
    """Return the head of the columns of `score_cells`."""
    return tuple(f"{name} %" for name in (*parts, score))


def score_cells(
    parts: Sequence[str], found: Mapping[str, Estimate], score: Estimate
) -> tuple[str, ...]:
    """Return the parts of a score and the score itself, in percent."""
    return (*(interval(found.get(part)) for part in parts), interval(score))


def comparison_cells(comparison: Comparison | None) -> tuple[str, str]:
    """Return a difference with its interval in percentage points, and its corrected p."""
    return (
        ("–", "–")
        if comparison is None
        else (difference(comparison.paired), probability(comparison.holm_p))
    )


def estimate_columns(values: Mapping[str, Estimate | None]) -> dict[str, float | None]:
    """Return the columns that tables for other programs have of each named estimate."""
    return {
        f"{name}_{field}": getattr(value, field, None)
        for name, value in values.items()
        for field in ("mean", "sd", "low", "high")
    }


def comparison_columns(
    name: str, comparison: Comparison | None, prefix: str = ""
) -> dict[str, float | None]:
    """Return the columns of a comparison: a named difference, then p values after a prefix."""
    paired = comparison.paired if comparison else None
    return {
        **estimate_columns({name: paired.difference if paired else None}),
        f"{prefix}p": paired.p if paired else None,
        f"{prefix}holm_p": comparison.holm_p if comparison else None,
    }


def count(value: int | None) -> str:
    """Return a whole number with commas between thousands."""
    return "–" if value is None else f"{value:,}"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, whichever suits its size."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def judgement(comparison: Comparison) -> str:
    """Return whether a difference is more than noise, in words: by its interval, then Holm's p."""
    if comparison.paired.within_noise:
        return "within noise"
    side = "above" if comparison.paired.difference.mean > 0 else "below"
    if (comparison.holm_p or 0.0) > SIGNIFICANCE:
        return f"{side} by its own interval, but not after correction for several comparisons"
    return f"{side}, by more than noise"


def guessing(chance: float | None, zero_shot: Estimate | None = None) -> tuple[str, ...]:
    """Return the sentence on chance, beside zero-shot's score; none where chance is unknown."""
    if chance is None:
        return ()
    beside = f"; zero-shot scores {interval(zero_shot)} %" if zero_shot else ""
    return (f"Always naming the largest class would score {percent(chance)} % (chance){beside}.",)
