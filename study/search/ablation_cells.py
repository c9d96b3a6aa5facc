"""The cells of an ablation, which are the subsets that it compares."""

from collections.abc import Iterator
from itertools import combinations

from study.backbones.architecture import ENCODERS, Depths
from study.config.labels import ZERO_SHOT
from study.config.schema import AblationConfig, StudyConfig
from study.errors import StudyError, SubsetError
from study.method.subsets import Subset, in_blocks, kinds, parse, single_sites
from study.storage.study_folder import StudyFolder
from study.trial.study import Study, best_of, read_candidates

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
    if study.folder.exists() and (kept := study.folder.read_identity().get(BASE)):
        return str(kept)
    storage = study.folder.path.parent
    other = StudyFolder(storage / ablation.base_from)
    best = best_of(read_candidates(other)) if other.path.exists() else None
    if best is None:
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
    ablation, depths = study.config.ablation, study.architecture().depths
    if ablation is None:
        raise ValueError("the configuration has no ablation")
    base = parse(base_of(study, ablation))
    cells = {base.key(depths): ("base", base)}
    pairs = ablation.design == "pairs"
    for label, subset in _designed(study.config, ablation, base, depths):
        if subset.resolve(depths) or pairs:
            known, written = cells.get(subset.key(depths), (label, subset))
            # Interactions are found by the texts of sites and pairs, which a base may be too.
            cells[subset.key(depths)] = known, subset if pairs else written
    if len(cells) == 1:
        raise StudyError(
            f"ablation.design {ablation.design} leaves no cell beside the base '{base}'; "
            "name sites or subsets that differ from it"
        )
    for label, subset in cells.values():
        for kind in sorted(kinds(subset.resolve(depths))):
            if not ablation.rates_of(kind):
                raise StudyError(
                    f"ablation.rates: the cell '{label}' tunes '{subset}' and so needs rates.{kind}"
                )
    return dict(cells.values())


def _designed(
    config: StudyConfig, ablation: AblationConfig, base: Subset, depths: Depths
) -> Iterator[tuple[str, Subset]]:
    if ablation.design == "grid":
        yield from ((label, parse(subset)) for label, subset in ablation.subsets.items())
    elif ablation.design == "only_one":
        for site in ablation.sites or config.search.space.sites:
            yield f"only {site}", parse(site)
    elif ablation.design == "leave_one_out":
        for site in ablation.sites or list(_sites_in(base, depths)):
            try:
                rest = base - parse(site)
                if rest.resolve(depths) == base.resolve(depths):
                    raise SubsetError(f"{site} is not in {base}")
            except SubsetError:
                raise StudyError(
                    f"ablation.sites: '{site}' is not in the base '{base}'; "
                    f"in it are {', '.join(_sites_in(base, depths))}"
                ) from None
            yield f"without {site}", rest
    elif ablation.design == "pairs":
        sites = _apart(ablation.sites or tuple(_sites_in(base, depths)), depths)
        yield ZERO_SHOT, parse("none")
        yield from ((f"only {site}", parse(site)) for site in sites)
        yield from ((pair, parse(pair)) for pair in map(" + ".join, combinations(sites, 2)))
    else:  # the part of the base in each window of layers, without the sites outside the blocks
        deepest, width = max(depths.text, depths.vision), ablation.width
        ranges = {
            "sliding": [(start, start + width) for start in range(deepest - width + 1)],
            "from_bottom": [(0, stop) for stop in range(1, deepest + 1)],
            "from_top": [(start, deepest) for start in reversed(range(deepest))],
        }
        ends = {site: getattr(depths, site.partition(".")[0]) for site in _sites_in(base, depths)}
        for start, stop in ranges[ablation.windows]:
            if terms := [
                f"{site}[{start}:{min(stop, end)}]"
                for site, end in ends.items()
                if in_blocks(site) and start < end
            ]:
                yield f"layers {start}–{stop - 1}", parse(" + ".join(terms))


def _apart(sites: tuple[str, ...], depths: Depths) -> tuple[str, ...]:
    """Return the sites to pair.

    Raises:
        StudyError: there are fewer than two, one is empty, or two cannot be added as they overlap.
    """
    if len(sites) < 2:
        raise StudyError(
            f"ablation.sites: pairs need two sites or more, got {', '.join(sites) or 'none'}"
        )
    for one, other in combinations(sites, 2):
        leaves = [parse(site).resolve(depths) for site in (one, other, f"{one} + {other}")]
        if not all(leaves) or sum(map(len, leaves[:2])) > len(leaves[2]):
            raise StudyError(
                f"ablation.sites: '{one}' and '{other}' cannot be paired, as they share parameters "
                "or one of them has none"
            )
    return sites


def _sites_in(base: Subset, depths: Depths) -> Iterator[str]:
    """Yield the names of the single sites that the subset contains in full."""
    leaves = base.resolve(depths)
    sites = [
        f"{encoder}.{site}" for encoder in ENCODERS for site in single_sites(encoder, depths.family)
    ]
    yield from (site for site in sites if parse(site).resolve(depths) <= leaves)
