"""The stages of an ablation, which compares cells: each is a subset with its own learning rate."""

from collections.abc import Iterator, Mapping, Sequence

from study.config.settings import Settings
from study.errors import StudyError
from study.method.parameters import kind_names
from study.method.subsets import Subset
from study.search.ablation_cells import ablation_cells
from study.search.callback import Observer
from study.search.stages import TakeOver, TrialMaker, run_queue
from study.selection.candidates import finished_trials
from study.trial import TrialData
from study.trial.study import Study


def tune_cells(
    study: Study,
    data: TrialData,
    observers: Sequence[Observer],
    take_over: TakeOver | None,
) -> None:
    """Train every cell at every learning rate and evaluate it by validation.

    Args:
        study: the study.
        data: the data of the search's trials.
        observers: see `run_queue`.
        take_over: see `run_queue`.
    """
    seed = study.config.seed
    maker = TrialMaker(study, {seed: data})
    wanted = [
        maker.make("search", label, f"{label} at {rate:g}", number, settings, seed)
        for number, (label, rate, settings) in enumerate(_trials(study, ablation_cells(study)))
    ]
    run_queue(study, "search", wanted, {seed: data}, observers, take_over)


def fix_rates(study: Study) -> Mapping[str, Settings]:
    """Choose each cell's learning rate by validation, before the test split is read.

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
        return study.fix_cells({label: own for label, _, own in _trials(study, cells)})
    # The best trial comes first, so in reversed order it is the last to be stored.
    best = {t.config.subset_key: t.config for t in reversed(finished_trials(study.folder))}
    depths = study.architecture().depths
    keys = {label: subset.key(depths) for label, subset in cells.items()}
    if missing := [label for label, key in keys.items() if key not in best]:
        raise StudyError(f"no trial of the cell '{missing[0]}' ran all its epochs")
    return study.fix_cells({label: best[key].settings for label, key in keys.items()})


def test_cells(
    study: Study,
    chosen: Mapping[str, Settings],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
    take_over: TakeOver | None,
) -> None:
    """Train every cell at its learning rate on each seed's shots and test it.

    Args:
        study: the study.
        chosen: the settings of each cell, by label.
        data: the data of the trials, by seed.
        observers: see `run_queue`.
        take_over: see `run_queue`.
    """
    maker = TrialMaker(study, data)
    wanted = [
        maker.make("ablation", label, label, seed_index * 1000 + index, settings, seed)
        for seed_index, seed in enumerate(data)
        for index, (label, settings) in enumerate(chosen.items())
    ]
    run_queue(study, "ablation", wanted, data, observers, take_over)


def _trials(study: Study, cells: Mapping[str, Subset]) -> Iterator[tuple[str, float, Settings]]:
    if (ablation := study.config.ablation) is None:
        return
    weight = ablation.distill_weight
    for label, subset in cells.items():
        for rate in ablation.rates:
            rates = dict.fromkeys(kind_names(), rate)
            yield label, rate, Settings(subset=str(subset), rates=rates, distill_weight=weight)
