"""A sweep's results as the tables of a paper, with published averages beside ours."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, harmonic_mean
from typing import Any

from rich.console import Group

from study.analysis.comparison import Entry, Leaderboard, leaderboard
from study.analysis.formatting import interval, percent, score_header
from study.analysis.results import PARTS, open_study, read_results
from study.analysis.tables import markdown_table, markdown_text, rich_table
from study.errors import DataError
from study.storage.atomic import write_atomically

SWEEP_FILE = "sweep.json"
"""The file in a study's folder that names its experiment and its values on the sweep's axes."""
TABLES_FILE = "tables.md"
DATASET = "data.dataset"
ELEVEN = 11
"""The number of datasets that the published averages are over."""

Published = tuple[str, float | None, float | None, float]
"""A method, then base, new and harmonic mean in percent."""
_BASE_TO_NEW: tuple[Published, ...] = (
    ("CLIP", 69.34, 74.22, 71.70),
    ("CoOp", 82.69, 63.22, 71.66),
    ("CoCoOp", 80.47, 71.69, 75.83),
    ("KgCoOp", 80.73, 73.60, 77.00),
    ("MaPLe", 82.28, 75.14, 78.55),
    ("CLIPFit", None, None, 78.97),
    ("CLIP-LoRA", 84.10, 74.80, 79.18),
    ("2SFS", 85.55, 75.48, 80.20),
    ("LLaMP", 85.16, 77.71, 81.27),
)
PUBLISHED = {("base_to_new", 16): _BASE_TO_NEW}
"""Averages over the eleven datasets with ViT-B/16, by the name of the protocol and the shots."""


@dataclass(frozen=True)
class Result:
    """One study of a sweep: its place in the sweep, and its results."""

    experiment: str
    """The name of the experiment that the study is a part of."""
    axes: Mapping[str, Any]
    """The study's value on each axis of the sweep, by the name of the configuration field."""
    dataset: str
    """The name of the dataset."""
    published: tuple[Published, ...]
    """The published averages in its setting; empty if there are none."""
    board: Leaderboard
    """The confirmed candidates of the study."""

    def series(self, entry: Entry) -> str:
        """Return the name of an entry's series: its label, and values on axes but the dataset."""
        others = [f"{k.split('.')[-1]} {v}" for k, v in self.axes.items() if k != DATASET]
        return ", ".join((entry.label, *others))


@dataclass(frozen=True)
class Table:
    """A titled table of text cells."""

    title: str
    header: list[str]
    cells: list[list[str]]
    note: str = ""


def read_sweep(folders: Sequence[Path]) -> list[Result]:
    """Read the studies of a sweep, sorted by experiment; pass over studies of no sweep.

    Raises:
        DataError: none of the folders is a study of a sweep.
    """
    results = []
    for folder in folders:
        place = open_study(folder).read_json(SWEEP_FILE)
        if place is None:
            continue
        found = read_results(folder)
        config = found.configured().config
        results.append(
            Result(
                place["experiment"],
                place["axes"],
                config.data.dataset,
                PUBLISHED.get((config.protocol, config.data.shots), ()),
                leaderboard(found),
            )
        )
    if not results:
        raise DataError("no finished study of a sweep is among these folders")
    return sorted(results, key=lambda result: result.experiment)


def tables(results: Sequence[Result]) -> list[Table]:
    """Return two tables for each experiment: its averages, and its scores by dataset."""
    found = []
    for experiment in dict.fromkeys(result.experiment for result in results):
        members = [result for result in results if result.experiment == experiment]
        found += [_averages(experiment, members), _by_dataset(experiment, members)]
    return found


def _averages(experiment: str, members: Sequence[Result]) -> Table:
    """Return the table of every series' average over its datasets."""
    # Boards of studies without any score yet have no parts.
    parts = max((member.board.parts for member in members), key=len)
    datasets = len({member.dataset for member in members})
    cells = []
    for name, entries in _series(members).items():
        means = [
            fmean(e.parts[part].mean for e in entries.values() if part in e.parts) for part in parts
        ]
        # As published, the mean of the averages, which is not the average of the harmonic means.
        shown = [*means, harmonic_mean(means)] if parts else []
        shown.append(fmean(entry.test.mean for entry in entries.values()))
        cells.append([name, *(percent(mean, 2) for mean in shown), str(len(entries))])
    if not parts:
        return Table(f"{experiment}: averages", ["ours", "test %", "datasets"], cells)
    note = ""
    if all(member.published for member in members):
        cells += [
            [f"{name} (published)", _plain(base), _plain(new), _plain(mean), "–", str(ELEVEN)]
            for name, base, new, mean in members[0].published
        ]
        note = "Published: ViT-B/16, 16 shots, averages over the eleven datasets."
        if datasets < ELEVEN:
            note += f" Ours are over {datasets} of them, so the averages do not compare."
    scores = score_header((*parts, "hmean"), "mean of hmeans")
    header = ["ours and published", *scores, "datasets"]
    return Table(f"{experiment}: averages", header, cells, note)


def _by_dataset(experiment: str, members: Sequence[Result]) -> Table:
    """Return the table of scores with a row per dataset, or per target, and a column per series."""
    series = _series(members)
    rows: dict[str, list[str]] = {}
    for dataset in dict.fromkeys(member.dataset for member in members):
        own = [entries.get(dataset) for entries in series.values()]
        targets = dict.fromkeys(t for entry in own if entry is not None for t in entry.targets)
        for target in targets:
            place = f"{dataset} (source)" if target == "source" else target
            rows[place] = [interval(e.targets.get(target) if e else None) for e in own]
        rows[f"{dataset}: mean" if targets else dataset] = [
            interval(entry.test if entry else None) for entry in own
        ]
    cells = [[dataset, *scores] for dataset, scores in rows.items()]
    return Table(f"{experiment}: test %", ["dataset", *series], cells)


def _series(members: Sequence[Result]) -> dict[str, dict[str, Entry]]:
    """Group entries by series and dataset, in the order of the experiment's axes."""
    found: dict[str, dict[str, Entry]] = {}
    for member in members:
        for entry in member.board.entries:
            found.setdefault(member.series(entry), {})[member.dataset] = entry
    return found


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def render_tables(results: Sequence[Result]) -> Group:
    """Return the tables for the terminal."""
    return Group(*(rich_table(t.title, t.header, t.cells, left=1) for t in tables(results)))


def write_tables(results: Sequence[Result], place: Path) -> Path:
    """Write `tables.md` and `tables.csv` into the folder `place`; return the path of the former."""
    blocks = []
    for table in tables(results):
        blocks += [f"## {markdown_text(table.title)}", markdown_table(table.header, table.cells)]
        blocks += [table.note] if table.note else []
    path = place / TABLES_FILE
    write_atomically(path, "\n\n".join(blocks) + "\n")
    write_atomically(path.with_suffix(".csv"), _csv(results))
    return path


def _csv(results: Sequence[Result]) -> str:
    """Return every series of every study as CSV: fractions, means over seeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["experiment", "series", "dataset", "seeds", "test", "sd", *PARTS])
    for result in results:
        for entry in result.board.entries:
            found = (entry.parts.get(part) for part in PARTS)
            parts = [None if part is None else part.mean for part in found]
            place = [result.experiment, result.series(entry), result.dataset]
            writer.writerow([*place, len(entry.scores), entry.test.mean, entry.test.sd, *parts])
    return text.getvalue()
