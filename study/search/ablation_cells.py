"""The cells of an ablation, which are the subsets that it compares."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import combinations

from study.backbones.architecture import ENCODERS, Depths
from study.config.labels import ZERO_SHOT
from study.config.schema import AblationConfig, StudyConfig
from study.errors import StudyError, SubsetError
from study.method.subsets import Subset, is_in_blocks, kinds, list_sites, parse
from study.storage.study_folder import StudyFolder
from study.trial.study import Study, best_candidate, read_candidates

BASE = "ablation_base"
"""The key of a study's identity that has the base which came from another study."""


def base_of(study: Study, ablation: AblationConfig) -> str:
    """Return the subset with which every cell is compared.

    Raises:
        StudyError: the study that it comes from has no winner.
    """
    if ablation.base_from is None:
        return ablation.base
    # The other study may be extended or deleted later.
    if study.folder.exists():
        recorded = study.folder.read_identity().get(BASE)
        if recorded:
            return str(recorded)
    storage = study.folder.path.parent
    other = StudyFolder(storage / ablation.base_from)
    best = best_candidate(read_candidates(other)) if other.path.exists() else None
    if not best:
        raise StudyError(
            f"ablation.base_from: no finished study '{ablation.base_from}' in {storage}"
        )
    return best.settings.subset


def ablation_cells(study: Study) -> dict[str, Subset]:
    """Return the subsets by cell label, the base first and equal subsets only once.

    Raises:
        ValueError: the configuration has no ablation.
        StudyError: the design leaves no cell besides the base, a site to leave out is not in the
            base, sites to pair overlap, a cell tunes a kind of parameter that has no rate, or the
            study that the base comes from has no winner.
    """
    ablation = study.config.ablation
    depths = study.architecture.depths
    if not ablation:
        raise ValueError("the configuration has no ablation")
    base = parse(base_of(study, ablation))
    cells = {base.key(depths): ("base", base)}
    is_pairs = ablation.design == "pairs"
    for label, text in _designed_cells(study.config, ablation, base, depths).items():
        subset = parse(text)
        if not subset.resolve(depths) and not is_pairs:
            continue
        key = subset.key(depths)
        if key not in cells:
            cells[key] = (label, subset)
        elif is_pairs:
            # Interactions are found by the texts of sites and pairs, which a base may be too.
            first_label, _ = cells[key]
            cells[key] = (first_label, subset)
    if len(cells) == 1:
        raise StudyError(
            f"ablation.design {ablation.design} leaves no cell beside the base '{base}'; "
            "name sites or subsets that differ from it"
        )
    for label, subset in cells.values():
        for kind in sorted(kinds(subset.resolve(depths))):
            if not ablation.rates_for(kind):
                raise StudyError(
                    f"ablation.rates: the cell '{label}' tunes '{subset}' and so needs rates.{kind}"
                )
    return dict(cells.values())


def _designed_cells(
    config: StudyConfig, ablation: AblationConfig, base: Subset, depths: Depths
) -> Mapping[str, str]:
    """Return the subset of each cell of a design besides the base, by label."""
    if ablation.design == "grid":
        return ablation.subsets
    if ablation.design == "layers":
        return _windows(ablation, base, depths)
    sites = ablation.sites or tuple(_sites_in(base, depths))
    if ablation.design == "leave_one_out":
        return {f"without {site}": _without(site, base, depths) for site in sites}
    if ablation.design == "only_one":
        return _alone(ablation.sites or config.search.space.sites)
    _refuse_overlaps(sites, depths)
    pairs = map(" + ".join, combinations(sites, 2))
    return {ZERO_SHOT: "none"} | _alone(sites) | {pair: pair for pair in pairs}


def _alone(sites: Iterable[str]) -> dict[str, str]:
    return {f"only {site}": site for site in sites}


def _without(site: str, base: Subset, depths: Depths) -> str:
    """Return the base without a site.

    Raises:
        StudyError: the site is not in the base.
    """
    with suppress(SubsetError):
        rest = base - parse(site)
        if rest.resolve(depths) != base.resolve(depths):
            return str(rest)
    raise StudyError(
        f"ablation.sites: '{site}' is not in the base '{base}'; "
        f"in it are {', '.join(_sites_in(base, depths))}"
    )


def _windows(ablation: AblationConfig, base: Subset, depths: Depths) -> dict[str, str]:
    """Return the part of the base in each window of layers, less the sites outside the blocks."""
    cells = {}
    deepest = max(depths.text, depths.vision)
    width = ablation.width
    ranges = {
        "sliding": [(start, start + width) for start in range(deepest - width + 1)],
        "from_bottom": [(0, stop) for stop in range(1, deepest + 1)],
        "from_top": [(start, deepest) for start in reversed(range(deepest))],
    }
    sites = [site for site in _sites_in(base, depths) if is_in_blocks(site)]
    for start, stop in ranges[ablation.windows]:
        terms = []
        for site in sites:
            depth = getattr(depths, site.partition(".")[0])
            if start < depth:
                terms.append(f"{site}[{start}:{min(stop, depth)}]")
        if terms:
            cells[f"layers {start}–{stop - 1}"] = " + ".join(terms)
    return cells


def _refuse_overlaps(sites: tuple[str, ...], depths: Depths) -> None:
    """Raise unless all pairs of sites can be added.

    Raises:
        StudyError: there are fewer than two sites, one is empty, or two overlap.
    """
    if len(sites) < 2:
        raise StudyError(
            f"ablation.sites: pairs need two sites or more, got {', '.join(sites) or 'none'}"
        )
    for first, second in combinations(sites, 2):
        sizes = [len(parse(site).resolve(depths)) for site in (first, second)]
        both = parse(f"{first} + {second}").resolve(depths)
        if 0 in sizes or sum(sizes) > len(both):
            raise StudyError(
                f"ablation.sites: '{first}' and '{second}' cannot be paired, as they share "
                "parameters or one of them has none"
            )


def _sites_in(base: Subset, depths: Depths) -> Iterator[str]:
    """Yield the names of the single sites that the subset contains in full."""
    leaves = base.resolve(depths)
    for encoder in ENCODERS:
        for name in list_sites(encoder, depths.family):
            site = f"{encoder}.{name}"
            if parse(site).resolve(depths) <= leaves:
                yield site
