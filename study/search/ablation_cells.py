"""The cells of an ablation, which are the subsets that it compares, and their trials."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from study.backbones.architecture import ENCODERS, Depths
from study.config.schema import AblationConfig, StudyConfig
from study.config.trial_settings import TrialSettings
from study.errors import StudyError, SubsetError
from study.method.parameters import kind_names
from study.method.subsets import Subset, is_in_blocks, kinds, list_sites, parse
from study.trial.study import Study


def ablation_cells(study: Study) -> dict[str, Subset]:
    """Return the subsets by cell label, the base first and equal subsets only once.

    Raises:
        StudyError: the design leaves no cell besides the base, a site to leave out is not in the
            base, or a cell tunes a kind of parameter that has no rate.
    """
    ablation = study.config.ablation
    assert ablation is not None
    depths = study.architecture.depths
    base = parse(ablation.base)
    cells = {base.key(depths): ("base", base)}
    for label, text in _designed_cells(study.config, ablation, base, depths).items():
        subset = parse(text)
        if subset.resolve(depths):
            cells.setdefault(subset.key(depths), (label, subset))
    if len(cells) == 1:
        raise StudyError(
            f"ablation.design {ablation.design} has no cell but the base '{base}'; "
            "expected sites or subsets that differ from the base"
        )
    for label, subset in cells.values():
        for kind in sorted(kinds(subset.resolve(depths))):
            if not ablation.rates_for(kind):
                raise StudyError(
                    f"ablation.rates: no rate for {kind}; the cell '{label}' tunes '{subset}'"
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
    if ablation.design == "leave_one_out":
        sites = ablation.sites or _sites_in(base, depths)
        return {f"without {site}": _without(site, base, depths) for site in sites}
    return {f"only {site}": site for site in ablation.sites or config.search.space.sites}


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
        f"expected one of {', '.join(_sites_in(base, depths))}"
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


def _sites_in(base: Subset, depths: Depths) -> Iterator[str]:
    """Yield the names of the single sites that the subset contains in full."""
    tensors = base.resolve(depths)
    for encoder in ENCODERS:
        for name in list_sites(encoder, depths.family):
            site = f"{encoder}.{name}"
            if parse(site).resolve(depths) <= tensors:
                yield site


def ablation_trials(study: Study) -> dict[str, dict[str, TrialSettings]]:
    """Return the settings that each cell is tried at, by the cell's label and the trial's own.

    They are all combinations of one rate from each list. Of kinds of parameter that a cell does not
    tune, no rate is tried.

    Raises:
        StudyError: see `ablation_cells`.
    """
    ablation = study.config.ablation
    assert ablation is not None
    trials: dict[str, dict[str, TrialSettings]] = {}
    for label, subset in ablation_cells(study).items():
        tuned = kinds(subset.resolve(study.architecture.depths))
        # Kinds that share a list share a rate.
        groups: list[Sequence[str]] = [kind_names()] if tuned else []
        if isinstance(ablation.rates, Mapping):
            groups = [(kind,) for kind in kind_names() if kind in tuned]
        trials[label] = {}
        for point in itertools.product(*(ablation.rates_for(group[0]) for group in groups)):
            rates: dict[str, float] = {}
            texts = []
            for group, rate in zip(groups, point, strict=True):
                rates |= dict.fromkeys(group, rate)
                texts.append(f"{group[0]} {rate:.3g}" if len(group) == 1 else f"{rate:.3g}")
            name = f"{label} at {', '.join(texts)}" if texts else label
            trials[label][name] = TrialSettings(
                subset=str(subset), rates=rates, distill_weight=ablation.distill_weight
            )
    return trials
