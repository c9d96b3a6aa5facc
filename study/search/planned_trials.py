"""The number of trials that a new study will run, from the lists that its steps themselves use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from study.config.methods import OtherMethod
from study.search.ablation_cells import ablation_trials
from study.search.candidates import training_hash
from study.search.groups import plan_groups
from study.trial.study import Study


@dataclass(frozen=True)
class PlannedTrials:
    """Trials of a step that take as long as each other."""

    trials: int
    trains: bool = True
    """Whether images pass an encoder in each step; otherwise a trial takes one evaluation."""
    method: OtherMethod | None = None
    """The method, which may fix the number and the size of its steps; None means a subset."""
    is_stopped_early: bool = False
    """Whether successive halving may stop them."""


def plan_trials(study: Study) -> Mapping[str, Sequence[PlannedTrials]]:
    """Return the trials of a new study by step.

    The test has fewer where a rival is the best configuration as well.

    Raises:
        StudyError: the backbone cannot be read.
    """
    config, protocol = study.config, study.protocol
    seeds = len(protocol.shot_seeds(config))
    plan: dict[str, list[PlannedTrials]] = {"search": [], "test": [], "final training": []}
    if config.ablation:
        cells = ablation_trials(study)
        if protocol.validates(config):
            plan["search"] = [PlannedTrials(len(trials)) for trials in cells.values()]
        plan["test"] = [PlannedTrials(seeds)] * len(cells)
        return plan
    fixed = protocol.fixed_settings(config)
    baselines = {}
    for label, settings in fixed.items():
        method = settings.method
        trains = method.passes_encoders if method else settings.subset != "none"
        baselines[label] = PlannedTrials(1, trains, method)
    # Those that differ in the head share their training.
    labels = {training_hash(study, settings): label for label, settings in fixed.items()}.values()
    plan["test"] = [replace(baselines[label], trials=seeds) for label in labels]
    if not protocol.searches(config):
        return plan
    plan["search"] = [*baselines.values()]
    for group in plan_groups(study):
        searched = config.search.searched_methods.get(group.name)
        trains = not searched or searched.passes_encoders
        plan["search"].append(PlannedTrials(group.planned, trains, searched, trains))
        if searched:
            plan["test"].append(PlannedTrials(seeds, trains, searched))
    # Tuned CLIPFit, the best configuration and the runners-up.
    plan["test"] += [PlannedTrials(seeds)] * (2 + config.test.runners_up)
    if config.final.images != "shots":
        plan["final training"] = [PlannedTrials(1)]
    return plan
