"""The stages of an ablation, which compares cells: each is a subset with its own learning rate."""

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
    """Train every cell at every learning rate and evaluate it by validation.

    Args:
        config: the study's configuration.
        folder: the study's folder.
        architecture: the backbone's architecture.
        data: the data of the search's trials.
        observers: see `run_queue`.
        take_over: see `run_queue`.
    """
    maker = TrialMaker(config, architecture, {config.seed: data})
    cells = ablation_cells(config, folder, architecture.depths)
    trials = _trials(config, cells)
    wanted = [
        maker.make("search", label, f"{label} at {rate:g}", number, proposal, config.seed)
        for number, (label, rate, proposal) in enumerate(trials)
    ]
    run_queue(config, folder, "search", wanted, {config.seed: data}, observers, take_over)


def fix_rates(
    config: StudyConfig, folder: StudyFolder, architecture: Architecture
) -> dict[str, Proposal]:
    """Choose each cell's learning rate by validation, before the test split is read.

    The choice is written to ``cells.json`` once; later calls read it.

    Returns:
        The chosen proposal of each cell, by label.

    Raises:
        StudyError: no trial of a cell ran all its epochs.
    """
    cells = ablation_cells(config, folder, architecture.depths)
    if (written := folder.read_json("cells.json")) is None:
        if config.ablation is not None and len(config.ablation.rates) == 1:
            chosen = {label: proposal for label, _, proposal in _trials(config, cells)}
        else:
            # The best trial comes first, so in reversed order it is the last to be stored.
            best = {t.config.subset_key: t.config for t in reversed(finished_trials(folder))}
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
    """Train every cell at its learning rate on each seed's shots and test it.

    Args:
        config: the study's configuration.
        folder: the study's folder.
        architecture: the backbone's architecture.
        chosen: the proposal of each cell, by label.
        data: the data of the trials, by seed.
        observers: see `run_queue`.
        take_over: see `run_queue`.
    """
    maker = TrialMaker(config, architecture, data)
    wanted = [
        maker.make("ablation", label, label, seed_index * 1000 + index, proposal, seed)
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
