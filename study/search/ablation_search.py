"""An ablation's search: each cell at the rates of its grid, and the choice of the best of them."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from study.config.trial_settings import TrialSettings
from study.data.records import listed_texts
from study.errors import StudyError
from study.search.ablation_cells import ablation_cells
from study.search.ledger_callback import Observers
from study.search.make_trial import make_trial
from study.search.queues import run_queue
from study.search.ranking import rank_finished_trials
from study.search.rate_grid import MOST_EXTENSIONS, RateGrid
from study.search.searcher import Proposal
from study.trial.study import Study, TrialConfig, TrialData

_Grids = Mapping[str, RateGrid]
"""The grid of each cell, by label."""


def rate_grids(study: Study) -> dict[str, RateGrid]:
    """Return the learning rates to try in each cell as they are configured, by label.

    Raises:
        ValueError: see `ablation_cells`.
        StudyError: see `ablation_cells`.
    """
    ablation = study.config.ablation
    depths = study.architecture.depths
    return {
        label: RateGrid.of_config(ablation, subset, depths)
        for label, subset in ablation_cells(study).items()
        if ablation
    }


def tune_cells(
    study: Study,
    data: TrialData,
    observers: Observers,
    announce: Callable[[Sequence[str], int], object],
) -> None:
    """Train every cell at every combination of its rates and evaluate it by validation.

    Where the best rate is at a bound, the grid of the cell is extended beyond it and trained too,
    at most `MOST_EXTENSIONS` times. Each extension follows from the scores in the ledger, so an
    interrupted study finds the same ones again, and trains what the ledger lacks of them.

    Args:
        study: the study.
        data: the data of the search's trials.
        observers: see `run_queue`.
        announce: a function that is called before extended grids are trained, with a sentence on
            each and the largest number of trials that all grids may still come to, and in the end.
    """
    ablation = study.config.ablation
    grids = rate_grids(study)
    extensions_left = 0
    # A choice that was written stays, so that only what a repair has opened again is trained.
    if ablation and ablation.extend and study.cells() is None:
        extensions_left = MOST_EXTENSIONS
    while True:
        untried = _untried(study, data, grids)
        run_queue(study, "search", untried, {study.config.seed: data}, observers)
        extensions = _beyond_bounds(study, grids) if extensions_left else {}
        if not extensions:
            announce([], sum(grid.size for grid in grids.values()))
            return
        extensions_left -= 1
        labels_by_rates: dict[str, list[str]] = defaultdict(list)
        for label, rates in extensions.items():
            grids[label] = grids[label].extended(rates)
            labels_by_rates[grids[label].describe(rates)].append(f"“{label}”")
        sentences = [
            f"best at the edge of the rates, so {text} as well: {listed_texts(labels)}"
            for text, labels in labels_by_rates.items()
        ]
        most = 0
        for label, grid in grids.items():
            # A cell whose best rate is inside of its grid is not extended later either.
            most += grid.size_after(extensions_left) if label in extensions else grid.size
        announce(sentences, most)


def most_trials(study: Study) -> int:
    """Return the largest number of trials that `tune_cells` may come to.

    Raises:
        ValueError: see `ablation_cells`.
        StudyError: see `ablation_cells`.
    """
    ablation = study.config.ablation
    extensions = 0
    if ablation and ablation.extend:
        extensions = MOST_EXTENSIONS
    return sum(grid.size_after(extensions) for grid in rate_grids(study).values())


def fix_rates(study: Study) -> Mapping[str, TrialSettings]:
    """Choose each cell's learning rates by validation, before the test split is read.

    The choice is written once; later calls read it.

    Returns:
        The chosen settings of each cell, by label; a cell of which no trial ran all its epochs is
        left out.

    Raises:
        StudyError: no trial of any cell ran all its epochs.
    """
    written = study.cells()
    if written is not None:
        return written
    grids = rate_grids(study)
    settings_of = {}
    if not study.protocol.validates(study.config):
        trials = _trials(study, grids)
        return study.write_cells({label: settings for label, _, settings in trials})
    for label, ranked in _ranked(study, grids).items():
        if ranked:
            settings_of[label] = ranked[0]
    if not settings_of:
        raise StudyError("no trial of any cell ran all its epochs, so that no cell can be tested")
    return study.write_cells(settings_of)


def _trials(study: Study, grids: _Grids) -> list[tuple[str, str, TrialSettings]]:
    """Return the label of each trial's cell, the trial's own label, and its settings."""
    ablation = study.config.ablation
    if not ablation:
        return []
    trials = []
    for label, grid in grids.items():
        for rates in grid.combinations():
            name = f"{label} at {grid.describe(rates)}" if rates else label
            settings = TrialSettings(
                subset=str(grid.subset), rates=rates, distill_weight=ablation.distill_weight
            )
            trials.append((label, name, settings))
    return trials


def _untried(study: Study, data: TrialData, grids: _Grids) -> list[TrialConfig]:
    """Return the trials of the grids that the ledger lacks, under the lowest free numbers."""
    # By what they train: a score that changed since may have led to an extension of another cell.
    tried = set()
    numbers = set()
    for _, config in study.folder.trials_of("search"):
        trial = TrialConfig.model_validate(config)
        tried.add((trial.subset_key, *trial.settings.rates.items()))
        numbers.add(trial.number)
    untried = []
    number = 0
    for label, name, settings in _trials(study, grids):
        while number in numbers:
            number += 1
        proposal = Proposal(settings, label, number)
        trial = make_trial(study, data, "search", proposal, label=name)
        if (trial.subset_key, *trial.settings.rates.items()) not in tried:
            untried.append(trial)
            number += 1
    return untried


def _beyond_bounds(study: Study, grids: _Grids) -> dict[str, dict[str, float]]:
    """Return the rates by which to extend the grids whose best rates are at bounds, by cell."""
    extensions = {}
    for label, ranked in _ranked(study, grids).items():
        grid = grids[label]
        in_grid = [settings.rates for settings in ranked if grid.contains(settings.rates)]
        if in_grid:
            rates = grid.next_rates(in_grid[0])
            if rates:
                extensions[label] = rates
    return extensions


def _ranked(study: Study, grids: _Grids) -> dict[str, list[TrialSettings]]:
    """Return the settings of each cell's trials that ran all their epochs, best first."""
    depths = study.architecture.depths
    finished = [trial.config for trial in rank_finished_trials(study.folder)]
    ranked = {}
    for label, grid in grids.items():
        key = grid.subset.key(depths)
        ranked[label] = [trial.settings for trial in finished if trial.subset_key == key]
    return ranked
