"""A sweep's results as the tables of a paper, with published averages beside ours."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from statistics import fmean, harmonic_mean
from typing import Any

from study.analysis.formatting import Table, interval, percent, score_header
from study.analysis.leaderboard import Entry, Leaderboard, leaderboard
from study.analysis.results import PARTS, read_results
from study.config.schema import StudyConfig
from study.errors import DataError
from study.storage.atomic import write_atomically
from study.storage.ledger import StudyFolder

SWEEP_FILE = "sweep.json"
"""The file in a study's folder that names its experiment and its values on the sweep's axes."""
ELEVEN = 11
"""The number of datasets that the published averages are over."""

Published = tuple[str, float | None, float | None, float]
"""A method, then base, new and harmonic mean in percent."""
PUBLISHED: dict[tuple[str, int], tuple[Published, ...]] = {
    ("base_to_new", 16): (
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
}
"""Averages over the eleven datasets with ViT-B/16, by the name of the protocol and the shots."""


@dataclass(frozen=True)
class Result:
    """One study of a sweep: its place in the sweep, and its results."""

    experiment: str
    """The name of the experiment that the study is a part of."""
    axes: Mapping[str, Any]
    """The study's value on each axis of the sweep, by the name of the configuration field."""
    board: Leaderboard
    """The results of the study, with its confirmed candidates."""

    @property
    def config(self) -> StudyConfig:
        """The configuration of the study."""
        return self.board.configured().config

    def series(self, entry: Entry) -> str:
        """Return the name of an entry's series: its label, and values on axes but the dataset."""
        others = (f"{k.split('.')[-1]} {v}" for k, v in self.axes.items() if k != "data.dataset")
        return ", ".join((entry.label, *others))


def read_sweep(folders: Sequence[Path]) -> list[Result]:
    """Read the studies of a sweep, sorted by experiment; pass over studies of no sweep.

    Raises:
        DataError: none of the folders is a study of a sweep.
    """
    results = [
        Result(place["experiment"], place["axes"], leaderboard(read_results(folder)))
        for folder in folders
        if (place := StudyFolder(folder).read_json(SWEEP_FILE)) is not None
    ]
    if not results:
        raise DataError("no finished study of a sweep is among these folders")
    return sorted(results, key=attrgetter("experiment"))


def tables(results: Sequence[Result]) -> list[Table]:
    """Return two tables for each experiment: its averages, and its scores by dataset."""
    grouped = groupby(results, attrgetter("experiment"))
    experiments = {experiment: list(members) for experiment, members in grouped}
    return [make(*item) for item in experiments.items() for make in (_averages, _by_dataset)]


def _averages(experiment: str, members: Sequence[Result]) -> Table:
    """Return the table of every series' average over its datasets."""
    # Boards of studies without any score yet have no parts.
    parts = max((member.board.parts for member in members), key=len)
    settings = [(member.config.protocol, member.config.data.shots) for member in members]
    published = PUBLISHED.get(settings[0], ()) if parts and PUBLISHED.keys() >= {*settings} else ()
    note = "Published: ViT-B/16, 16 shots, averages over the eleven datasets."
    datasets = len({member.config.data.dataset for member in members})
    if datasets < ELEVEN:
        note += f" Ours are over {datasets} of them, so the averages do not compare."
    scores = score_header((*parts, "hmean"), "mean of hmeans")
    return Table(
        f"{experiment}: averages",
        ["ours and published" if parts else "ours", *(scores if parts else ["test %"]), "datasets"],
        [
            *(
                [name, *(percent(mean, 2) for mean in _means(parts, own.values())), len(own)]
                for name, own in _series(members).items()
            ),
            *(
                [f"{name} (published)", *(v and f"{v:.2f}" for v in averages), None, ELEVEN]
                for name, *averages in published
            ),
        ],
        note=note if published else "",
    )


def _means(parts: Sequence[str], entries: Collection[Entry]) -> list[float]:
    """Return the mean of each part and their harmonic mean, then the mean of the scores."""
    means = [fmean(e.parts[part].mean for e in entries if part in e.parts) for part in parts]
    # As published, the mean of the averages, which is not the average of the harmonic means.
    hmean = [harmonic_mean(means)] if parts else []
    return [*means, *hmean, fmean(entry.test.mean for entry in entries)]


def _by_dataset(experiment: str, members: Sequence[Result]) -> Table:
    """Return the table of scores with a row per dataset, or per target, and a column per series."""
    series = _series(members)
    rows: dict[str, list[str]] = {}
    for dataset in dict.fromkeys(member.config.data.dataset for member in members):
        own = [entries.get(dataset) for entries in series.values()]
        targets = dict.fromkeys(t for entry in own if entry is not None for t in entry.targets)
        rows |= {
            f"{dataset} (source)" if target == "source" else target: [
                interval(e.targets.get(target) if e else None) for e in own
            ]
            for target in targets
        }
        rows[f"{dataset}: mean" if targets else dataset] = [
            interval(entry.test if entry else None) for entry in own
        ]
    return Table(
        f"{experiment}: test %",
        ["dataset", *series],
        [[dataset, *scores] for dataset, scores in rows.items()],
    )


def _series(members: Sequence[Result]) -> dict[str, dict[str, Entry]]:
    """Group entries by series and dataset, in the order of the experiment's axes."""
    found: dict[str, dict[str, Entry]] = {}
    for member in members:
        for entry in member.board.entries:
            found.setdefault(member.series(entry), {})[member.config.data.dataset] = entry
    return found


def write_tables(results: Sequence[Result], place: Path) -> Path:
    """Write `tables.md` and `tables.csv` into the folder `place`; return the path of the former.

    The latter has every series of every study: fractions, means over seeds.
    """
    path = place / "tables.md"
    every = Table(
        "",
        ["experiment", "series", "dataset", "seeds", "test", "sd", *PARTS],
        [
            [
                *(result.experiment, result.series(entry), result.config.data.dataset),
                *(len(entry.scores), entry.test.mean, entry.test.sd),
                *(getattr(entry.parts.get(part), "mean", None) for part in PARTS),
            ]
            for result in results
            for entry in result.board.entries
        ],
    )
    write_atomically(path, "\n\n".join(table.markdown() for table in tables(results)) + "\n")
    write_atomically(path.with_suffix(".csv"), every.csv())
    return path
