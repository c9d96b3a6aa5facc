"""An ablation: cells of subsets, each at its own learning rate, trained and tested alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from study.config import AblationConfig, StudyConfig
from study.errors import StudyError, SubsetError
from study.ledger import StudyFolder
from study.method.architecture import Architecture
from study.method.subsets import (
    BIAS_SITES,
    BLOCK_NORMS,
    OUTER_NORMS,
    Depths,
    Subset,
    parse,
)
from study.search.callback import Observer
from study.search.space import Proposal
from study.search.stages import TrialMaker, run_queue
from study.selection import finished_trials
from study.trial import TrialConfig, TrialData

BASE = "base"
"""The label of the cell that the others are compared with."""


def ablation_cells(config: StudyConfig, folder: StudyFolder, depths: Depths) -> dict[str, Subset]:
    """Give the cells by label, the base first; equal subsets once.

    Raises:
        StudyError: the design leaves no cell, or the study whose winner is the base has none.
    """
    ablation = config.ablation
    if ablation is None:
        raise ValueError("the configuration has no ablation")
    base = parse(_base(ablation, folder))
    cells = {BASE: base}
    keys = {base.key(depths)}
    for label, subset in _designed(config, ablation, base, depths):
        if subset.resolve(depths) and (key := subset.key(depths)) not in keys:
            keys.add(key)
            cells[label] = subset
    if len(cells) == 1:
        raise StudyError(
            f"ablation.design {ablation.design} leaves no cell beside the base '{base}'; "
            "name sites or subsets that differ from it"
        )
    return cells


def tune_cells(
    config: StudyConfig,
    folder: StudyFolder,
    architecture: Architecture,
    data: TrialData,
    observers: Sequence[Observer],
) -> None:
    """Train every cell at every rate, to be judged by validation."""
    make = TrialMaker(config, architecture, {config.seed: data.digest})
    cells = ablation_cells(config, folder, architecture.depths)
    trials = _trials(config, cells)
    wanted = [
        make.make("search", label, f"{label} at {rate:g}", number, proposal, config.seed)
        for number, (label, rate, proposal) in enumerate(trials)
    ]
    run_queue(config, folder, "search", wanted, {config.seed: data}, observers)


def fix_rates(
    config: StudyConfig, folder: StudyFolder, architecture: Architecture
) -> dict[str, Proposal]:
    """Fix each cell's rate by validation, before the test split is read; write it down once.

    Raises:
        StudyError: no trial of a cell ran all its epochs.
    """
    cells = ablation_cells(config, folder, architecture.depths)
    if (written := folder.read_json("cells.json")) is None:
        if config.ablation is not None and len(config.ablation.rates) == 1:
            chosen = {label: proposal for label, _, proposal in _trials(config, cells)}
        else:
            judged = finished_trials(folder)
            best = {j.config.arm: j.config for j in reversed(judged)}
            if missing := [label for label in cells if label not in best]:
                raise StudyError(f"no trial of the cell '{missing[0]}' ran all its epochs")
            chosen = {label: _proposal(best[label]) for label in cells}
        written = {label: vars(proposal) for label, proposal in chosen.items()}
        folder.write_json("cells.json", written)
    return {label: Proposal(**values) for label, values in written.items()}


def test_cells(
    config: StudyConfig,
    folder: StudyFolder,
    architecture: Architecture,
    chosen: Mapping[str, Proposal],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
) -> None:
    """Train every cell at its rate on each seed's shots and test it; ``data`` is by seed."""
    make = TrialMaker(config, architecture, {seed: part.digest for seed, part in data.items()})
    wanted = [
        make.make("ablation", label, label, seed_index * 1000 + index, proposal, seed)
        for seed_index, seed in enumerate(data)
        for index, (label, proposal) in enumerate(chosen.items())
    ]
    run_queue(config, folder, "ablation", wanted, data, observers)


def _trials(
    config: StudyConfig, cells: Mapping[str, Subset]
) -> Iterator[tuple[str, float, Proposal]]:
    if config.ablation is None:
        return
    weight = config.ablation.distill_weight
    for label, subset in cells.items():
        for rate in config.ablation.rates:
            yield label, rate, Proposal(str(subset), rate, rate, weight)


def _proposal(config: TrialConfig) -> Proposal:
    return Proposal(config.subset, config.bias_lr, config.ln_lr, config.distill_weight)


def _base(ablation: AblationConfig, folder: StudyFolder) -> str:
    if ablation.base_from is None:
        return ablation.base
    other = StudyFolder(folder.path.parent / ablation.base_from)
    candidates = other.read_json("candidates.json") or []
    best = next((c for c in candidates if c["label"] == "best"), None)
    if best is None:
        raise StudyError(
            f"ablation.base_from: no finished study '{ablation.base_from}' in {folder.path.parent}"
        )
    return str(best["subset"])


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
                yield f"without {site}", _without(base, parse(site), depths)
            except SubsetError:
                raise StudyError(
                    f"ablation.sites: '{site}' is not in the base '{base}'; "
                    f"in it are {', '.join(_sites_in(base, depths))}"
                ) from None
    else:
        yield from _windowed(ablation, base, depths)


def _without(base: Subset, site: Subset, depths: Depths) -> Subset:
    less = base - site
    if less.resolve(depths) == base.resolve(depths):
        raise SubsetError(f"{site} is not in {base}")
    return less


def _windowed(
    ablation: AblationConfig, base: Subset, depths: Depths
) -> Iterator[tuple[str, Subset]]:
    """Keep of the base what lies in a range of layers; sites outside the blocks are left out."""
    deepest = max(depths.text, depths.vision)
    ranges = {
        "sliding": [(at, at + ablation.width) for at in range(deepest - ablation.width + 1)],
        "from_bottom": [(0, stop) for stop in range(1, deepest + 1)],
        "from_top": [(start, deepest) for start in reversed(range(deepest))],
    }
    for start, stop in ranges[ablation.windows]:
        terms = [
            f"{site}[{start}:{min(stop, getattr(depths, site.partition('.')[0]))}]"
            for site in _sites_in(base, depths)
            if "." in site
            and site.partition(".")[2] in (*BIAS_SITES, *BLOCK_NORMS)
            and start < getattr(depths, site.partition(".")[0])
        ]
        if terms:
            yield f"layers {start}–{stop - 1}", parse(" + ".join(terms))


def _sites_in(base: Subset, depths: Depths) -> Iterator[str]:
    """Name the single sites that a subset holds as a whole."""
    leaves = base.resolve(depths)
    for encoder, outer in OUTER_NORMS.items():
        for site in (*BIAS_SITES, *BLOCK_NORMS, *outer):
            if parse(f"{encoder}.{site}").resolve(depths) <= leaves:
                yield f"{encoder}.{site}"
