"""An ablation: cells of subsets, each at its own learning rate, trained and tested alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from study.config.schema import StudyConfig
from study.errors import StudyError
from study.method.checkpoint import Architecture
from study.method.subsets import Subset
from study.search.ablation_cells import ablation_cells
from study.search.callback import Observer
from study.search.searcher import proposal_of
from study.search.space import Proposal
from study.search.stages import TakeOver, TrialMaker, run_queue
from study.selection.candidates import finished_trials
from study.storage.ledger import StudyFolder
from study.trial import TrialData


def tune_cells(
    config: StudyConfig,
    folder: StudyFolder,
    architecture: Architecture,
    data: TrialData,
    observers: Sequence[Observer],
    take_over: TakeOver | None,
) -> None:
    """Train every cell at every rate, to be judged by validation."""
    make = TrialMaker(config, architecture, {config.seed: data})
    cells = ablation_cells(config, folder, architecture.depths)
    trials = _trials(config, cells)
    wanted = [
        make.make("search", label, f"{label} at {rate:g}", number, proposal, config.seed)
        for number, (label, rate, proposal) in enumerate(trials)
    ]
    run_queue(config, folder, "search", wanted, {config.seed: data}, observers, take_over)


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
            best = {j.config.subset_key: j.config for j in reversed(judged)}
            keys = {label: subset.key(architecture.depths) for label, subset in cells.items()}
            if missing := [label for label, key in keys.items() if key not in best]:
                raise StudyError(f"no trial of the cell '{missing[0]}' ran all its epochs")
            chosen = {label: proposal_of(best[key]) for label, key in keys.items()}
        written = {label: asdict(proposal) for label, proposal in chosen.items()}
        folder.write_json("cells.json", written)
    return {label: Proposal(**values) for label, values in written.items()}


def test_cells(
    config: StudyConfig,
    folder: StudyFolder,
    architecture: Architecture,
    chosen: Mapping[str, Proposal],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
    take_over: TakeOver | None,
) -> None:
    """Train every cell at its rate on each seed's shots and test it; ``data`` is by seed."""
    make = TrialMaker(config, architecture, data)
    wanted = [
        make.make("ablation", label, label, seed_index * 1000 + index, proposal, seed)
        for seed_index, seed in enumerate(data)
        for index, (label, proposal) in enumerate(chosen.items())
    ]
    run_queue(config, folder, "ablation", wanted, data, observers, take_over)


def _trials(
    config: StudyConfig, cells: Mapping[str, Subset]
) -> Iterator[tuple[str, float, Proposal]]:
    if config.ablation is None:
        return
    weight = config.ablation.distill_weight
    for label, subset in cells.items():
        for rate in config.ablation.rates:
            yield label, rate, Proposal(str(subset), rate, rate, weight)
