"""A sweep's results as the tables of a paper, with published averages beside ours."""

from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import fmean, harmonic_mean

import pandas as pd

from study.report.formatting import Table, percent, score_cell, score_header
from study.results.entries import Entry
from study.results.study_results import PARTS
from study.results.sweep_scores import PUBLISHED_DATASETS
from study.storage.atomic import write_atomically


def tables(sweep: pd.DataFrame) -> list[Table]:
    """Return two tables for each experiment: its averages, and its scores by dataset."""
    return [
        make(experiment, studies)
        for experiment, studies in sweep.groupby("experiment")
        for make in (_averages, _by_dataset)
    ]


def _averages(experiment: str, studies: pd.DataFrame) -> Table:
    """Return the table of every series' average over its datasets."""
    parts = max(studies["parts"], key=len)  # there are none without any score yet
    published = studies["published"].iloc[0] if parts and all(studies["published"]) else ()
    datasets = studies["dataset"].nunique()
    note = "Published: ViT-B/16, 16 shots, averages over the eleven datasets."
    if datasets < PUBLISHED_DATASETS:
        note += f" Ours are over {datasets} of them, so the averages do not compare."
    scores = score_header((*parts, "hmean"), "mean of hmeans")
    return Table(
        f"{experiment}: averages",
        ["ours and published" if parts else "ours", *(scores if parts else ["test %"]), "datasets"],
        [
            *(
                [name, *(percent(mean, 2) for mean in _means(parts, own.values())), len(own)]
                for name, own in _series(studies).items()
            ),
            *(
                [
                    f"{name} (published)",
                    *(v and f"{v:.2f}" for v in averages),
                    None,
                    PUBLISHED_DATASETS,
                ]
                for name, *averages in published
            ),
        ],
        note=note if published else "",
    )


def _means(parts: Sequence[str], entries: Collection[Entry]) -> list[float]:
    """Return the mean of each part and their harmonic mean, then the mean of the scores."""
    means = [fmean(e.parts[part].mean for e in entries if part in e.parts) for part in parts]
    return [
        *means,
        # As published, the mean of the averages, which is not the average of the harmonic means.
        *([harmonic_mean(means)] if parts else []),
        fmean(entry.test.mean for entry in entries),
    ]


def _by_dataset(experiment: str, studies: pd.DataFrame) -> Table:
    """Return the table of scores with a row per dataset, or per target, and a column per series."""
    series = _series(studies)
    rows: dict[str, list[str]] = {}
    for dataset in studies["dataset"].unique():
        own = [entries.get(dataset) for entries in series.values()]
        targets = dict.fromkeys(
            t for entry in own if entry is not None for t in entry.dataset_scores
        )
        rows |= {
            f"{dataset} (source)" if target == "source" else target: [
                score_cell(e.dataset_scores.get(target) if e else None) for e in own
            ]
            for target in targets
        }
        rows[f"{dataset}: mean" if targets else dataset] = [
            score_cell(entry.test if entry else None) for entry in own
        ]
    return Table(
        f"{experiment}: test %",
        ["dataset", *series],
        [[dataset, *scores] for dataset, scores in rows.items()],
        note="± and [ ] are 95 % intervals over seeds and test images together.",
    )


def _series(studies: pd.DataFrame) -> dict[str, dict[str, Entry]]:
    """Group entries by series and dataset, in the order of the experiment's axes."""
    grouped = studies.groupby("series", sort=False)
    return {name: dict(zip(own["dataset"], own["entry"], strict=True)) for name, own in grouped}


def write_tables(sweep: pd.DataFrame, place: Path) -> Path:
    """Write `tables.md` and `tables.csv` into the folder `place`; return the path of the former.

    The latter has every series of every study: fractions, means over seeds.
    """
    path = place / "tables.md"
    series = Table(
        "",
        ["experiment", "series", "dataset", "seeds", "test", "sd", "balanced", *PARTS],
        [
            [
                *(row.experiment, row.series, row.dataset, len(row.entry.scores)),
                *(row.entry.test.mean, row.entry.test.sd),
                getattr(row.entry.balanced, "mean", None),
                *(getattr(row.entry.parts.get(part), "mean", None) for part in PARTS),
            ]
            for row in sweep.dropna().itertuples()
        ],
    )
    write_atomically(path, "\n\n".join(table.markdown() for table in tables(sweep)) + "\n")
    write_atomically(path.with_suffix(".csv"), series.csv())
    return path
