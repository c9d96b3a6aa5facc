"""Numbers and tables as text, worded the same for terminal, Markdown and report.

Arguments are fractions; texts have scores in percent and differences in percentage points. A table
is shown on the terminal, as Markdown and as CSV; the report's template shows its `texts` as HTML.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from study.config.peer_settings import Peer
from study.config.trial_settings import TrialSettings
from study.method.parameters import kind_names, list_kinds
from study.method.peers import PEERS
from study.process.terminal_table import TerminalTable
from study.protocols import Protocol
from study.results.intervals import Interval, MeanInterval
from study.results.statistics import Comparison, PairedDifference

# Entities where a backslash does not help: MLflow's reader takes `\<` for the start of a tag, up to
# the next `>`, and shows tables in between as one paragraph; it ignores `\@`, and GitHub `\$`.
_MARKDOWN = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\|*_`[~"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;", "\n": " ", "\r": " "}
)


class HoverText(str):
    """The text of a cell, with what the report shows when the mouse rests on it."""

    hover: str

    def __new__(cls, text: str, hover: str) -> Self:
        """Return the text, which knows what stands behind it."""
        shown = super().__new__(cls, text)
        shown.hover = hover
        return shown


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
    break_at: int | None = None
    """See `TerminalTable.break_at`."""
    keys: int = 1
    """The number of leading columns that name a row; see `TerminalTable.keys`."""

    @classmethod
    def from_records(cls, records: Sequence[Mapping[str, object]]) -> Table:
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

    @property
    def hovers(self) -> list[list[str]]:
        """What is shown when the mouse rests on each cell; most are empty."""
        return [[getattr(cell, "hover", "") for cell in row] for row in self.rows]

    def without_constant(self, name: str) -> Table:
        """Return the table without a column that says the same in every row."""
        at = list(self.header).index(name)
        if len({row[at] for row in self.rows}) > 1:
            return self
        return replace(
            self,
            header=[*self.header[:at], *self.header[at + 1 :]],
            rows=[[*row[:at], *row[at + 1 :]] for row in self.rows],
            left=max(1, self.left - int(at < self.left)),
            keys=max(1, self.keys - int(at < self.keys)),
        )

    def __rich__(self) -> TerminalTable:
        """Return the table for the terminal."""
        return TerminalTable(
            self.header,
            self.texts,
            title=self.title,
            words=self.left,
            keys=self.keys,
            break_at=self.break_at,
        )

    def markdown(self) -> str:
        """Return the title as a heading, the table of escaped cells, and the note."""
        cells = ([markdown_text(cell) for cell in row] for row in self.texts)
        rows = (self.header, ["---"] * len(self.header), *cells)
        lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        heading = self.title and f"## {markdown_text(self.title)}"
        return "\n\n".join(filter(None, (heading, lines, markdown_text(self.note))))

    def csv(self) -> str:
        """Return the table as CSV, for other programs."""
        return csv_text([self.header, *self.rows])


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV; an unknown value is an empty cell, and every cell is as it is."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def markdown_text(text: str) -> str:
    """Return text escaped so that Markdown readers show it unchanged, on one line."""
    return text.translate(_MARKDOWN)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as percent, without the percent sign."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def format_mean(value: MeanInterval | None) -> str:
    """Return a mean with its 95 % interval in percent: ±, or both ends where they differ from it.

    A single seed is marked, as it has no interval.
    """
    if value is None:
        return "–"
    mean = percent(value.mean)
    if value.half_width is None:
        return f"{mean} {_no_interval(value)}"
    if value.symmetric:
        return f"{mean} ± {_width(value.half_width)}"
    return f"{mean} [{percent(value.low)}, {percent(value.high)}]"


def _no_interval(value: MeanInterval) -> str:
    return "(1 seed)" if value.n == 1 else "(no interval)"


def _width(half: float) -> str:
    """Return half a width in percent, which is never shown as 0."""
    shown = percent(half)
    return "<0.1" if shown == "0.0" else shown


def score_cell(value: MeanInterval | None) -> HoverText:
    """Return a mean with its interval, which shows its two parts when the mouse rests on it."""
    parts = []
    if value is not None and value.seeds is not None:
        parts.append(f"over seeds alone {percent(value.seeds.low)} to {percent(value.seeds.high)}")
    if value is not None and value.images is not None:
        low, high = percent(value.images.low), percent(value.images.high)
        parts.append(f"over test images alone {low} to {high}")
    return HoverText(format_mean(value), "; ".join(parts))


def points(value: float) -> str:
    """Return a difference of fractions as signed percentage points."""
    # Adding 0.0 turns -0.0 into 0.0.
    rounded = round(100 * value, 1) + 0.0
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def format_difference(paired: PairedDifference | None) -> str:
    """Return the mean difference with its interval, in percentage points."""
    if paired is None:
        return "–"
    found = paired.difference
    return f"{points(found.mean)} {format_ends(found, '[{}, {}]') or _no_interval(found)}"


def difference_cell(paired: PairedDifference | None) -> HoverText:
    """Return a mean difference with its interval, which shows its two parts on hover."""
    parts = []
    if paired is not None:
        parts.append(format_ends(paired.difference.seeds, "over seeds alone {} to {}"))
        parts.append(format_ends(paired.difference.images, "over test images alone {} to {}"))
    return HoverText(format_difference(paired), "; ".join(filter(None, parts)))


def describe_difference(found: MeanInterval) -> str:
    """Return a mean difference with its interval, in percentage points and words."""
    return f"{points(found.mean)} points ({_interval_in_words(found)})"


def _interval_in_words(found: MeanInterval) -> str:
    """Return the ends of a difference's interval, and what it leaves out."""
    if found.n == 1:
        alone = format_ends(found.images, "; over test images alone {} to {}")
        return f"1 seed, so no interval{alone}"
    if found.low is None:
        return "no interval: all seeds are alike and no predictions were kept"
    if found.reach is None:
        return format_ends(found, "95 % interval over test images alone {} to {}")
    if found.images is None:
        return format_ends(found, "95 % interval over seeds alone {} to {}, test images left out")
    wider = format_ends(found.wider, ", for other labelled images {} to {}")
    return format_ends(found, "95 % interval {} to {}") + wider


def describe_missed(found: MeanInterval) -> str:
    """Return how large a true difference would have to be to be seen half the time, in words."""
    if found.reach is None:
        return ""
    return f"a true difference of {percent(found.reach)} points would be missed half the time"


def format_ends(found: MeanInterval | Interval | None, form: str = "{} to {}") -> str:
    """Return the ends of an interval in percentage points; an empty text without an interval."""
    if found is None or found.low is None or found.high is None:
        return ""
    return form.format(points(found.low), points(found.high))


def probability(p: float | None) -> str:
    """Return a p value with three decimals, or as “<0.001”."""
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_rate(value: float | None) -> str:
    """Return a learning rate or loss weight with three significant digits."""
    return "–" if value is None else f"{value:.3g}"


SETTING_NOTE = (
    "Head: what turns the features of an image into classes, “text” CLIP’s own text features of "
    "the class names, “linear” a layer that was trained. Strength: how much of the tuned change is "
    "kept, 1 is all. lr: learning rate. λ: how strongly the loss holds text features at CLIP’s. "
    "[a:b]: the layers from a to before b, counted from 0."
)
"""What the columns of `setting_cells` are, for a reader of any table that has them."""


def setting_header() -> tuple[str, ...]:
    """Return the head of the columns of `setting_cells`."""
    return ("head", "strength", *(f"{kind.short} lr" for kind in list_kinds()), "λ")


def setting_cells(settings: TrialSettings) -> tuple[str, ...]:
    """Return the head with its training, the strength, the rate of each kind, and λ."""
    return (
        describe_head(settings),
        format_rate(settings.strength),
        *(format_rate(settings.rates.get(kind)) for kind in kind_names()),
        # Where no parameter of CLIP is tuned, there is no loss to weight.
        format_rate(settings.distill_weight if settings.rates else None),
    )


def tuned_in_words(settings: TrialSettings) -> str:
    """Return which parameters are tuned, a subset or those of a peer, and γ where there is one."""
    found, peer = settings.subset.replace("none", "nothing"), settings.peer
    if peer is not None:
        found = f"{peer_in_words(peer)}, lr {format_rate(peer.lr)}"
    return found + (f", γ {format_rate(settings.calibration)}" if settings.calibration else "")


def peer_in_words(peer: Peer) -> str:
    """Return what a peer trains, without its learning rate."""
    row = PEERS[peer.method]
    parts = [row.title]
    for name, value in peer.numbers.items():
        if value:
            parts.append(row.numbers[name].words.format(format_rate(value)))
    return "".join(parts)


def settings_in_words(settings: TrialSettings) -> str:
    """Return what is tuned, with head and strength where they are not CLIPFit's own."""
    linear = settings.head == "linear"
    if settings.subset == "none" and settings.peer is None:
        return "a linear head on CLIP as it is" if linear else "CLIP as it is"
    parts = {
        tuned_in_words(settings): True,
        "linear head": linear,
        f"strength {format_rate(settings.strength)}": settings.strength != 1.0,
    }
    return ", ".join(text for text, told in parts.items() if told)


def describe_head(settings: TrialSettings) -> str:
    """Return the kind of the head; of a linear one also how it was trained, once that is chosen.

    Each step is on all training images, as `study.method.head` has it.
    """
    if settings.head_lr is None or settings.head_steps is None:
        return settings.head
    steps = f"{settings.head_steps} step{'' if settings.head_steps == 1 else 's'}"
    return f"{settings.head}, learning rate {format_rate(settings.head_lr)}, {steps}"


def score_header(parts: Sequence[str], score: str) -> tuple[str, ...]:
    """Return the head of the columns of `score_cells`."""
    return tuple(f"{name} %" for name in (*parts, score))


def score_cells(
    parts: Sequence[str], found: Mapping[str, MeanInterval], score: MeanInterval
) -> tuple[str, ...]:
    """Return the parts of a score on test and the score itself, in percent."""
    return (*(score_cell(found.get(part)) for part in parts), score_cell(score))


def comparison_cells(comparison: Comparison | None) -> tuple[str, str]:
    """Return a difference with its interval in percentage points, and its corrected p."""
    return (
        ("–", "–")
        if comparison is None
        else (difference_cell(comparison.paired), probability(comparison.holm_p))
    )


def interval_columns(values: Mapping[str, MeanInterval | None]) -> dict[str, float | None]:
    """Return the columns that tables for other programs have of each named mean.

    `low` and `high` are the ends of the interval, and those of its parts have their names before.
    """
    columns: dict[str, float | None] = {}
    for name, value in values.items():
        for field in ("mean", "sd", "low", "high"):
            columns[f"{name}_{field}"] = getattr(value, field, None)
        for part in ("seeds", "images", "wider"):
            own = getattr(value, part, None)
            columns[f"{name}_{part}_low"] = getattr(own, "low", None)
            columns[f"{name}_{part}_high"] = getattr(own, "high", None)
    return columns


def p_values(comparison: Comparison | None) -> dict[str, float | None]:
    """Return the p of a comparison and that after Holm's correction, by column."""
    return {
        "p": comparison.paired.p_value if comparison else None,
        "holm_p": comparison.holm_p if comparison else None,
    }


def format_count(value: int | None) -> str:
    """Return a whole number with commas between thousands."""
    return "–" if value is None else f"{value:,}"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, whichever suits its size."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def chance_sentences(
    chance: float | None, zero_shot: MeanInterval | None = None, guess: str = Protocol.guess
) -> tuple[str, ...]:
    """Return the sentence on chance, beside zero-shot's score; none where chance is unknown.

    Args:
        chance: the balanced score of guessing.
        zero_shot: the balanced score of the backbone as it is.
        guess: how one guesses; see `study.protocols.Protocol.guess`.
    """
    if chance is None:
        return ()
    beside = f"; that of zero-shot is {format_mean(zero_shot)} %" if zero_shot else ""
    return (f"{guess} would have a balanced score of {percent(chance)} % (chance){beside}.",)
