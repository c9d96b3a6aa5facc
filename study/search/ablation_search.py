"""An ablation's search: each cell at the rates of its grid, and the choice of the best of them."""

from collections.abc import Mapping

from study.config.trial_settings import TrialSettings
from study.errors import StudyError
from study.search.ablation_cells import ablation_cells
from study.search.ledger_callback import Observers
from study.search.make_trial import make_trial
from study.search.queues import run_queue
from study.search.ranking import rank_finished_trials
from study.search.rate_grid import RateGrid
from study.search.searcher import Proposal
from study.trial.study import Study, TrialData

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


def tune_cells(study: Study, data: TrialData, observers: Observers) -> None:
    """Train every cell at every combination of its rates and evaluate it by validation.

    Args:
        study: the study.
        data: the data of the search's trials.
        observers: see `run_queue`.
    """
    queue = [
        make_trial(study, data, "search", Proposal(settings, label, number), label=name)
        for number, (label, name, settings) in enumerate(_trials(study, rate_grids(study)))
    ]
    run_queue(study, "search", queue, {study.config.seed: data}, observers)


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


def _ranked(study: Study, grids: _Grids) -> dict[str, list[TrialSettings]]:
    """Return the settings of each cell's trials that ran all their epochs, best first."""
    finished = [trial.config for trial in rank_finished_trials(study.folder)]
    ranked = {}
    for label, grid in grids.items():
        subset = str(grid.subset)
        ranked[label] = [trial.settings for trial in finished if trial.settings.subset == subset]
    return ranked
