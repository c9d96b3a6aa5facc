"""A sweep's results as the tables of a paper, with published averages."""

import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from statistics import fmean, harmonic_mean

from study.config.labels import LINEAR, TUNED, ZERO_SHOT
from study.report.formatting import format_mean, percent
from study.report.tables import Table, csv_text
from study.results.rows import Row
from study.results.sweep_scores import PUBLISHED_AVERAGES, PUBLISHED_DATASETS, SweepRow
from study.results.trial_results import PARTS, SOURCE
from study.storage.atomic import StorageError, write_atomically
from study.trial.predictions import BALANCED
from study.trial.study import BEST

_SUMMARIZED = {BEST, TUNED, LINEAR, ZERO_SHOT}
"""The candidates in the summary of a sweep."""
_MOST_SUMMARIZED = 8
"""The most rows of a summary."""
CSV_HEADER = ("experiment", "series", "dataset", "seeds", "test", "sd", "balanced", *PARTS)


def sweep_tables(sweep: Sequence[SweepRow]) -> list[Table]:
    """Return two tables for each experiment: its averages, and its scores by dataset."""
    tables = []
    for experiment, rows in groupby(sweep, attrgetter("experiment")):
        own = [*rows]
        tables += [_average_table(experiment, own), _dataset_table(experiment, own)]
    return tables


def sweep_summary(sweep: Sequence[SweepRow]) -> Table:
    """Return the averages of the best configurations and their rivals, for the end of a run."""
    rows = []
    for experiment, own in groupby(sweep, attrgetter("experiment")):
        for name, entries in _by_series([*own]).items():
            if any(_SUMMARIZED.intersection(entry.labels) for entry in entries.values()):
                mean = fmean(entry.test.mean for entry in entries.values())
                rows.append([experiment, name, percent(mean, 2), len(entries)])
    shown = rows[:_MOST_SUMMARIZED]
    if len(shown) < len(rows):
        shown.append(["", f"and {len(rows) - len(shown)} more", None, None])
    header = ["experiment", "series", "test %", "datasets"]
    return Table("", header, shown, left=2, lines=False)


def _average_table(experiment: str, sweep: Sequence[SweepRow]) -> Table:
    """Return the table of every series' average over its datasets."""
    parts = max((one.names.parts for one in sweep), key=len)
    header = ["ours", "test %", "datasets"]
    if parts:
        scores = [f"{name} %" for name in (*parts, "hmean", "mean of hmeans")]
        header = ["ours and published", *scores, "datasets"]
    rows = []
    for name, entries in _by_series(sweep).items():
        means = [percent(mean, 2) for mean in _means(parts, entries.values())]
        rows.append([name, *means, len(entries)])
    note = ""
    if all(one.is_published for one in sweep):
        header.append("source")
        rows = [[*row, None] for row in rows]
        for name, *averages, source in PUBLISHED_AVERAGES:
            texts = [None if average is None else f"{average:.2f}" for average in averages]
            rows.append([f"{name} (published)", *texts, None, PUBLISHED_DATASETS, source])
        note = "Published: ViT-B/16, 16 shots, averages over the eleven datasets."
        datasets = len({one.dataset for one in sweep})
        if datasets < PUBLISHED_DATASETS:
            note += f" Ours are over only {datasets} of them, so they are not comparable."
    return Table(f"{experiment}: averages", header, rows, note=note)


def _means(parts: Sequence[str], entries: Collection[Row]) -> list[float]:
    """Return the mean of each part and their harmonic mean, then the mean of the scores."""
    means = []
    for part in parts:
        means.append(fmean(entry.means[part].mean for entry in entries if part in entry.means))
    if parts:
        # As published, the mean of the averages, which is not the average of the harmonic means.
        means.append(harmonic_mean(means))
    means.append(fmean(entry.test.mean for entry in entries))
    return means


def _dataset_table(experiment: str, sweep: Sequence[SweepRow]) -> Table:
    """Return the table of scores with a row per dataset, or per target, and a column per series."""
    series = _by_series(sweep)
    rows: dict[str, list[str]] = {}
    for dataset in dict.fromkeys(one.dataset for one in sweep):
        entries = [by_dataset.get(dataset) for by_dataset in series.values()]
        own = [one.names.datasets for one in sweep if one.dataset == dataset]
        targets = dict.fromkeys(chain.from_iterable(own))
        for target in targets:
            name = f"{dataset} (source)" if target == SOURCE else target
            rows[name] = [format_mean(one.means.get(target) if one else None) for one in entries]
        name = f"{dataset}: mean" if targets else dataset
        rows[name] = [format_mean(one.test if one else None) for one in entries]
    return Table(
        f"{experiment}: test %",
        ["dataset", *series],
        [[name, *scores] for name, scores in rows.items()],
        note="± and [ ] are 95 % intervals over seeds and test images.",
    )


def _by_series(sweep: Sequence[SweepRow]) -> dict[str, dict[str, Row]]:
    """Return rows by series and dataset, in the order of the experiment's axes."""
    series: dict[str, dict[str, Row]] = defaultdict(dict)
    for one in sweep:
        series[one.series][one.dataset] = one.row
    return series


def write_sweep_tables(sweep: Sequence[SweepRow], folder: Path) -> Path:
    """Write `tables.md` and `tables.csv` into a folder, and return the path of the former.

    The latter has every series of every study: fractions, means over seeds.

    Raises:
        StorageError: see `refuse_other_tables`.
    """
    refuse_other_tables(folder)
    rows = []
    for experiment, series, dataset, row, *_ in sweep:
        means = map(row.means.get, (BALANCED, *PARTS))
        cells = [experiment, series, dataset, row.test.n, row.test.mean, row.test.sd]
        rows.append([*cells, *(mean and mean.mean for mean in means)])
    path = folder / "tables.md"
    # The file by which both are known is written first.
    write_atomically(path.with_suffix(".csv"), csv_text([CSV_HEADER, *rows]))
    tables = [table.markdown() for table in sweep_tables(sweep)]
    write_atomically(path, "\n\n".join(tables) + "\n")
    return path


def refuse_other_tables(folder: Path) -> None:
    """Raise if a folder has a `tables.md` or `tables.csv` that no sweep wrote.

    Raises:
        StorageError: it has; the message names the file.
    """
    csv = folder / "tables.csv"
    with suppress(OSError), csv.open(errors="replace") as file:
        if file.readline().strip() == ",".join(CSV_HEADER):
            return
    for path in (csv, csv.with_suffix(".md")):
        if os.path.lexists(path):
            raise StorageError(
                f"{path} exists but was not written by a sweep; move it, or use another folder"
            )
