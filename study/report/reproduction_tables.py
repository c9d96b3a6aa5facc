"""Base-to-new scores beside the published ones."""

from collections.abc import Mapping, Sequence
from statistics import fmean, harmonic_mean

from study.report.formatting import Table, percent, points
from study.results.sweep_scores import PUBLISHED_AVERAGES, PUBLISHED_CLIP
from study.results.trial_results import PARTS

Pair = tuple[float, float]
"""The accuracy on base and on new classes."""
_AVERAGES = {method: averages for method, *averages in PUBLISHED_AVERAGES["base_to_new 16"]}
_NOTE = (
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
        header += [f"{part} %", f"{part} published", f"Δ {part}"]
    rows = []
    for configuration, pairs in scores.items():
        averaged = {dataset: [dataset] for dataset in pairs}
        averaged[f"mean of {len(pairs)}"] = list(pairs)
        for name, datasets in averaged.items():
            row: list[str | None] = [configuration + mark, name]
            published = _published(configuration, datasets)
            ours = _means([pairs[dataset] for dataset in datasets])
            for score, other in zip(ours, published, strict=True):
                row.append(percent(score, 2))
                if other is None:
                    row += [None, None]
                else:
                    row += [f"{other:.2f}", points(score - other / 100)]
            rows.append(row)
    title = f"Base to new, beside published figures{mark}"
    return Table(title, header, rows, left=2, keys=2, note=_NOTE)


def _published(configuration: str, datasets: Sequence[str]) -> Sequence[float | None]:
    """Return the published means over datasets in percent, as far as they are known."""
    known = PUBLISHED_CLIP.keys()
    if configuration == "zero-shot" and known >= set(datasets):
        return _means([PUBLISHED_CLIP[dataset] for dataset in datasets])
    if configuration == "clipfit" and known == set(datasets):
        return _AVERAGES["CLIPFit"]
    return [None, None, None]


def _means(pairs: Sequence[Pair]) -> list[float]:
    """Return the means on base and on new classes, and their harmonic mean."""
    means = [fmean(part) for part in zip(*pairs, strict=True)]
    return [*means, harmonic_mean(means)]
