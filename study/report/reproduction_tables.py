"""Base-to-new scores beside the published ones."""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean, harmonic_mean

from study.report.formatting import Table, percent, points
from study.results.sweep_scores import PUBLISHED_AVERAGES, PUBLISHED_CLIP
from study.results.trial_results import PARTS

Pair = tuple[float, float]
"""The accuracy on base and on new classes."""
ZERO_SHOT, CLIPFIT = "zero-shot", "clipfit"
NOTE = (
    "Each of our scores stands before the published one, and Δ is ours minus that in points. Means "
    "are over the same datasets. Of CLIP the published figures of each dataset are known here, of "
    "CLIPFit the mean over all eleven alone."
)


def comparison_table(scores: Mapping[str, Mapping[str, Pair]], mark: str = "") -> Table:
    """Return the table of base-to-new scores and published ones, with the differences.

    Args:
        scores: fractions, by configuration and dataset.
        mark: what stands behind the name of each configuration.
    """
    header = ["configuration", "dataset"]
    for part in (*PARTS, "hmean"):
        header += [f"{part} %", "published", "Δ"]
    rows = []
    for configuration, by_dataset in scores.items():
        name = configuration + mark
        for dataset, pair in by_dataset.items():
            published: Sequence[float | None] = ()
            if configuration == ZERO_SHOT and dataset in PUBLISHED_CLIP:
                published = _with_hmean(PUBLISHED_CLIP[dataset])
            rows.append([name, dataset, *_cells(_with_hmean(pair), published)])
        mean = _with_hmean(_mean(by_dataset.values()))
        published = _published_mean(configuration, by_dataset)
        rows.append([name, f"mean of {len(by_dataset)}", *_cells(mean, published)])
    title = f"Base to new, beside published figures{mark}"
    return Table(title, header, rows, left=2, keys=2, note=NOTE)


def _published_mean(configuration: str, datasets: Collection[str]) -> Sequence[float | None]:
    """Return the published base, new and hmean over the same datasets, as far as they are known."""
    if configuration == ZERO_SHOT and PUBLISHED_CLIP.keys() >= set(datasets):
        return _with_hmean(_mean([PUBLISHED_CLIP[dataset] for dataset in datasets]))
    if configuration == CLIPFIT and PUBLISHED_CLIP.keys() == set(datasets):
        for method, *averages in PUBLISHED_AVERAGES["base_to_new", 16]:
            if method == "CLIPFit":
                return averages
    return ()


def _mean(pairs: Collection[Pair]) -> Pair:
    base, new = zip(*pairs, strict=True)
    return fmean(base), fmean(new)


def _with_hmean(pair: Pair) -> tuple[float, float, float]:
    return *pair, harmonic_mean(pair)


def _cells(ours: Sequence[float], published: Sequence[float | None]) -> list[str | None]:
    """Return each of our fractions with the published percentage and the difference in points."""
    cells: list[str | None] = []
    for number, score in enumerate(ours):
        cells.append(percent(score, 2))
        other = None
        if published:
            other = published[number]
        if other is None:
            cells += [None, None]
        else:
            cells += [f"{other:.2f}", points(score - other / 100)]
    return cells
