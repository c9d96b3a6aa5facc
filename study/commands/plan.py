"""The trials that a new study runs, from the lists that its steps use."""

from collections.abc import Sequence
from dataclasses import dataclass

from study.config.labels import OPEN, RANKS, TUNED
from study.config.trial_settings import TrialSettings
from study.method.peers import PEERS
from study.search.ablation_cells import ablation_trials
from study.search.choice import training_hash
from study.trial.study import BEST, Study


@dataclass(frozen=True)
class PlannedTrials:
    """Trials that a step of a study runs, and that take as long as each other."""

    label: str
    trials: int
    trains: bool = True
    """Whether images pass an encoder in each step; otherwise a trial takes one evaluation."""
    is_stopped_early: bool = False
    """Whether successive halving may stop them."""


@dataclass(frozen=True)
class Plan:
    """All trials that the steps of a study run.

    The test has fewer where a rival is the best configuration as well.
    """

    search: Sequence[PlannedTrials]
    test: Sequence[PlannedTrials]
    final: Sequence[PlannedTrials]


def plan_trials(study: Study) -> Plan:
    """Return the trials of all steps of a new study, from the lists that the steps themselves use.

    Raises:
        StudyError: the backbone cannot be read.
    """
    config, protocol = study.config, study.protocol
    seeds = len(protocol.shot_seeds(config))
    if config.ablation:
        cells = ablation_trials(study)
        tuned = [PlannedTrials(label, len(trials)) for label, trials in cells.items()]
        search = tuned if protocol.validates(config) else []
        return Plan(search, [PlannedTrials(label, seeds) for label in cells], [])
    fixed = _by_training(study, protocol.fixed_settings(config))
    tests = [
        PlannedTrials(label, seeds, protocol.trains and _trains(settings))
        for label, settings in fixed.items()
    ]
    if not protocol.searches(config):
        return Plan([], tests, [])
    baselines = config.search.fixed_baselines.items()
    search = [PlannedTrials(label, 1, _trains(settings)) for label, settings in baselines]
    for label, trials in ((TUNED, config.search.tuned_trials), (OPEN, config.search.open_trials)):
        search.append(PlannedTrials(label, trials, is_stopped_early=True))
    tests += [PlannedTrials(label, seeds) for label in (TUNED, BEST)]
    for label, peer in config.search.searched_methods.items():
        trains = PEERS[peer.peer].passes_encoders
        search.append(PlannedTrials(label, config.search.method_trials, trains, trains))
        tests.append(PlannedTrials(label, seeds, trains))
    for label in RANKS[1 : 1 + config.test.runners_up]:
        tests.append(PlannedTrials(label, seeds))
    final = [] if config.final.images == "shots" else [PlannedTrials("final", 1)]
    return Plan(search, tests, final)


def _by_training(study: Study, settings: dict[str, TrialSettings]) -> dict[str, TrialSettings]:
    """Return one of the settings of each training; those that differ in the head share theirs."""
    one_of_each = {training_hash(study, one): label for label, one in settings.items()}
    return {label: settings[label] for label in one_of_each.values()}


def _trains(settings: TrialSettings) -> bool:
    """Return whether the steps of a trial pass an encoder."""
    if settings.peer is not None:
        return PEERS[settings.peer.method].passes_encoders
    return settings.subset != "none"
