"""An ablation's search: each cell at the rates of its grid, and the choice of the best of them."""

import itertools
from collections.abc import Callable, Mapping, Sequence

from study.config.trial_settings import TrialSettings
from study.errors import StudyError
from study.method.subsets import Subset, kinds
from study.search.ablation_cells import ablation_cells
from study.search.ledger_callback import Observer
from study.search.queues import TakeOver, run_queue
from study.search.rate_grid import MOST_EXTENSIONS, RateGrid
from study.search.stages import make_trial
from study.selection.candidates import finished_trials
from study.trial import TrialConfig, TrialData
from study.trial.study import Study


def rate_grids(study: Study) -> dict[str, RateGrid]:
    """Return the learning rates to try in each cell as they are configured, by label.

    Raises:
        ValueError: see `ablation_cells`.
        StudyError: see `ablation_cells`.
    """
    ablation, depths = study.config.ablation, study.architecture().depths
    return {
        label: RateGrid.planned(ablation, kinds(subset.resolve(depths)))
        for label, subset in ablation_cells(study).items()
        if ablation is not None
    }


def tune_cells(
    study: Study,
    data: TrialData,
    observers: Sequence[Observer],
    take_over: TakeOver | None,
    extending: Callable[[Sequence[str], int], object] = lambda sentences, trials: None,
) -> None:
    """Train every cell at every combination of its rates and evaluate it by validation.

    Where the best rate is at a bound, the grid of the cell is extended beyond it and trained too,
    at most `MOST_EXTENSIONS` times. Each extension follows from the scores in the ledger, so an
    interrupted study finds the same ones again, and trains what the ledger lacks of them.

    Args:
        study: the study.
        data: the data of the search's trials.
        observers: see `run_queue`.
        take_over: see `run_queue`.
        extending: a function that is called before extended grids are trained, with a sentence on
            each and the largest number of trials that all grids may still come to, and in the end.
    """
    ablation, cells = study.config.ablation, ablation_cells(study)
    grids = rate_grids(study)
    # A choice that was written stays, so that only what a repair has opened again is trained.
    extends = ablation is not None and ablation.extend and study.cells() is None
    for extensions_left in reversed(range(MOST_EXTENSIONS + 1 if extends else 1)):
        untried = _untried(study, data, cells, grids)
        run_queue(study, "search", untried, {study.config.seed: data}, observers, take_over)
        further = _beyond_bounds(study, cells, grids) if extensions_left else {}
        if not further:
            extending([], sum(grid.size for grid in grids.values()))
            return
        grids |= {label: grids[label].extended(rates) for label, rates in further.items()}
        # A cell whose best rate is inside of its grid is not extended later either.
        most = [
            grid.size_after(extensions_left - 1) if label in further else grid.size
            for label, grid in grids.items()
        ]
        extending(
            [
                f"the grid of “{label}” is extended to {grids[label].words(rates)}"
                for label, rates in further.items()
            ],
            sum(most),
        )


def most_trials(study: Study) -> int:
    """Return the largest number of trials that `tune_cells` may come to.

    Raises:
        ValueError: see `ablation_cells`.
        StudyError: see `ablation_cells`.
    """
    ablation = study.config.ablation
    extensions = MOST_EXTENSIONS if ablation is not None and ablation.extend else 0
    return sum(grid.size_after(extensions) for grid in rate_grids(study).values())


def fix_rates(study: Study) -> Mapping[str, TrialSettings]:
    """Choose each cell's learning rates by validation, before the test split is read.

    The choice is written once; later calls read it.

    Returns:
        The chosen settings of each cell, by label.

    Raises:
        StudyError: no trial of a cell ran all its epochs.
    """
    if (written := study.cells()) is not None:
        return written
    cells = ablation_cells(study)
    if not study.protocol().validates(study.config):
        planned = _trials(study, cells, rate_grids(study))
        return study.fix_cells({label: own for label, _, own in planned})
    ranked = _ranked(study, cells)
    if missing := [label for label, trials in ranked.items() if not trials]:
        raise StudyError(f"no trial of the cell '{missing[0]}' ran all its epochs")
    return study.fix_cells({label: trials[0] for label, trials in ranked.items()})


def _trials(
    study: Study, cells: Mapping[str, Subset], grids: Mapping[str, RateGrid]
) -> list[tuple[str, str, TrialSettings]]:
    """Return the label of each trial's cell, the trial's own label, and its settings."""
    if (ablation := study.config.ablation) is None:
        return []
    return [
        (
            label,
            f"{label} at {grids[label].words(rates)}" if rates else label,
            TrialSettings(subset=str(subset), rates=rates, distill_weight=ablation.distill_weight),
        )
        for label, subset in cells.items()
        for rates in grids[label].combinations()
    ]


def _untried(
    study: Study, data: TrialData, cells: Mapping[str, Subset], grids: Mapping[str, RateGrid]
) -> list[TrialConfig]:
    """Return the trials of the grids that the ledger lacks, under the lowest free numbers."""
    depths, regularizer = study.architecture().depths, study.config.training.regularizer
    ledger = [
        TrialConfig.model_validate(config)
        for trial in study.folder.trials()
        if (config := trial.read_config())["stage"] == "search"
    ]
    # By what they train: a score that changed since may have led to an extension of another cell.
    tried = {(trial.subset_key, *trial.settings.rates.items()) for trial in ledger}
    numbers = {trial.number for trial in ledger}
    free = (number for number in itertools.count() if number not in numbers)
    untried = []
    for label, name, settings in _trials(study, cells, grids):
        rates = settings.effective(cells[label].resolve(depths), regularizer).rates
        if (cells[label].key(depths), *rates.items()) not in tried:
            trial = make_trial(study, data, "search", settings, label, next(free), label=name)
            untried.append(trial)
    return untried


def _beyond_bounds(
    study: Study, cells: Mapping[str, Subset], grids: Mapping[str, RateGrid]
) -> dict[str, dict[str, float]]:
    """Return the rates by which to extend the grids whose best rates are at bounds, by cell."""
    further = {}
    for label, ranked in _ranked(study, cells).items():
        grid = grids[label]
        best = next((own.rates for own in ranked if grid.holds(own.rates)), None)
        if best is not None and (rates := grid.beyond(best)):
            further[label] = rates
    return further


def _ranked(study: Study, cells: Mapping[str, Subset]) -> dict[str, list[TrialSettings]]:
    """Return the settings of each cell's trials that ran all their epochs, best first."""
    depths = study.architecture().depths
    finished = [trial.config for trial in finished_trials(study.folder)]
    return {
        label: [trial.settings for trial in finished if trial.subset_key == key]
        for label, subset in cells.items()
        for key in (subset.key(depths),)
    }
