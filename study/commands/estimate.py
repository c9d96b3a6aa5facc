"""The plan of a study: its trials, and an estimate of their time from measured steps.

The steps are real: the study's backbone, prompts, batch size and precision, with random pixels.
They tune CLIPFit's own subset, which reaches through all layers of both encoders; a subset of upper
layers takes less, and full fine-tuning more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from study.commands.check_result import Estimate, Fact
from study.commands.facts import count_slots
from study.config.labels import RANKS, TUNED
from study.config.methods import METHODS, OtherMethod
from study.data.prompts import prompts
from study.data.tasks import Task
from study.errors import StudyError
from study.report.terminal import amount
from study.search.ablation_cells import ablation_trials
from study.search.candidates import training_hash
from study.search.groups import plan_groups
from study.trial.cost import Cost, measure_in_processes
from study.trial.prepare import (
    configured_templates,
    find_shots,
    labelled_task,
    rung_epochs,
    tasks_of_search,
)
from study.trial.study import BEST, Study

TITLES = {TUNED: "CLIPFit's parameters at other rates", "search": "other parameters"}
"""What the trials of a search are, by their labels."""
TITLES |= {name: method.title for name, method in METHODS.items()}


@dataclass(frozen=True)
class PlannedTrials:
    """Trials that a step of a study runs, and that take as long as each other."""

    label: str
    trials: int
    trains: bool = True
    """Whether images pass an encoder in each step; otherwise a trial takes one evaluation."""
    method: OtherMethod | None = None
    """The method, which may fix the number and the size of its steps; None means a subset."""
    is_stopped_early: bool = False
    """Whether successive halving may stop them."""


@dataclass(frozen=True)
class Plan:
    """All trials that the steps of a study run.

    The test has fewer where a rival is the best configuration as well.
    """

    search: Sequence[PlannedTrials]
    test: Sequence[PlannedTrials]
    final: Sequence[PlannedTrials] = ()


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
        return Plan(search, [PlannedTrials(label, seeds) for label in cells])
    fixed = protocol.fixed_settings(config)
    planned = {}
    for label, settings in fixed.items():
        method = settings.method
        trains = method.passes_encoders if method else settings.subset != "none"
        planned[label] = PlannedTrials(label, 1, trains, method)
    # Those that differ in the head share their training.
    labels = {training_hash(study, settings): label for label, settings in fixed.items()}.values()
    tests = [replace(planned[label], trials=seeds) for label in labels]
    if not protocol.searches(config):
        return Plan([], tests)
    search = list(planned.values())
    tests += [PlannedTrials(label, seeds) for label in (TUNED, BEST)]
    for group in plan_groups(study):
        searched = config.search.searched_methods.get(group.name)
        trains = not searched or searched.passes_encoders
        group_trials = PlannedTrials(group.name, group.planned, trains, searched, trains)
        search.append(group_trials)
        if searched:
            tests.append(replace(group_trials, trials=seeds))
    tests += [PlannedTrials(label, seeds) for label in RANKS[1 : 1 + config.test.runners_up]]
    final = [] if config.final.images == "shots" else [PlannedTrials("final", 1)]
    return Plan(search, tests, final)


BUSY = 0.85
"""The share of the time of a step in which its processes compute trials, as on two cores."""
MOST_MEASURED = 8
"""The most processes that are measured at once."""


def plan_facts(study: Study) -> Iterator[Fact]:
    """Yield how many trials each step of a new study will run, and of what.

    Raises:
        StudyError: the backbone cannot be read.
    """
    config, plan = study.config, plan_trials(study)
    noun, most = "configuration", ""
    if config.ablation:
        noun = "cell"
        rates = amount(max((one.trials for one in plan.search), default=0), "rate")
        parts = [f"{amount(len(plan.search), 'cell')} at up to {rates} each"]
    else:
        parts = [amount(sum(one.trials == 1 for one in plan.search), "baseline")]
        for one in plan.search:
            if one.trials > 1:
                parts.append(f"{one.trials} of {TITLES.get(one.label, one.label)}")
        if plan.search:
            most = "at most "  # a rival may be the best configuration as well
    if plan.search:
        trials = amount(sum(one.trials for one in plan.search), "trial")
        yield Fact("search", f"{trials}: {', '.join(parts)}")
        if config.search.minutes is not None and not config.ablation:
            limit = amount(config.search.minutes, "minute")
            yield Fact("", f"ends after {limit} at the latest; tests come after them")
    trials = amount(sum(one.trials for one in plan.test), "trial")
    seeds = amount(len(study.protocol.shot_seeds(config)), "seed")
    yield Fact("test", f"{most}{trials}: {amount(len(plan.test), noun)} with {seeds} each")
    if plan.final:
        images = config.final.images
        yield Fact("final", f"the best configuration, trained once more (final.images={images})")


def measure_and_estimate(study: Study) -> Estimate:
    """Measure steps in separate processes, and return what a study would take.

    Raises:
        StudyError: no trial fits on this machine, or the data or the backbone cannot be read.
    """
    config, protocol, dataset = study.config, study.protocol, study.dataset
    slots = count_slots(config.resources)
    if not slots:
        raise StudyError(
            "--estimate runs training steps on this machine, which is too small for a trial with "
            f"resources.cpus_per_trial={config.resources.cpus_per_trial:g} and "
            f"resources.gpus_per_trial={config.resources.gpus_per_trial:g}; run it on "
            "a machine of the cluster that is large enough"
        )
    labels = next(iter(protocol.scored(dataset).values()))
    names = [dataset.class_names[label] for label in labels]
    templates = configured_templates(dataset, config.data)[:1]
    texts = [texts_of_class[0] for texts_of_class in prompts(names, templates)]
    gpu = bool(config.resources.gpus_per_trial)
    arguments = (config.backbone, config.training, texts, config.resources.threads, gpu)
    cost = measure_in_processes(*arguments, at_once=min(slots, MOST_MEASURED))
    return estimate(study, cost, slots)


def estimate(study: Study, cost: Cost, slots: int) -> Estimate:
    """Return what a study would take, by what its steps cost.

    Args:
        study: the study.
        cost: what a step and the evaluation of an image cost.
        slots: the number of trials at once.

    Raises:
        StudyError: the data cannot be read.
    """
    config, protocol = study.config, study.protocol
    plan = plan_trials(study)
    search = final = 0.0
    if plan.search:
        shots = find_shots(study, config.seed)
        tasks = tasks_of_search(study, shots)
        rungs = rung_epochs(config.search.asha, config.training.epochs)
        baselines = [one for one in plan.search if not one.is_stopped_early and one.trains]
        search = _seconds(study, cost, tasks, plan.search, rungs=rungs)
        if config.search.minutes is not None and not config.ablation:  # baselines are all trained
            limit = 60 * config.search.minutes * slots
            search = min(search, max(limit, _seconds(study, cost, tasks, baselines, rungs=rungs)))
    if plan.final:
        task = labelled_task(study, find_shots(study, config.seed))
        final = _seconds(study, cost, [task], plan.final)
    seeds = protocol.shot_seeds(config)
    drawn = find_shots(study, seeds[0]) if protocol.trains else None
    test_task = protocol.task_of_test(study.dataset, drawn, study.targets())
    test = _seconds(study, cost, [test_task], plan.test)
    steps = [step for step in (plan.search, plan.test, plan.final) if step]
    # The final model is one trial. The processes of each step begin anew, after Ray itself.
    training = (search + test) / slots + final
    return Estimate(
        search_seconds=search / slots,
        test_seconds=test / slots,
        final_seconds=final,
        training_seconds=training,
        wall_seconds=training / BUSY + (1 + len(steps)) * cost.start,
        trials=sum(one.trials for step in steps for one in step),
        trials_at_once=slots,
        step_seconds=cost.step,
        image_seconds=cost.image,
        memory_bytes=cost.memory,
    )


def _seconds(
    study: Study,
    cost: Cost,
    tasks: Sequence[Task],
    planned: Sequence[PlannedTrials],
    *,
    rungs: Sequence[int] = (),
) -> float:
    """Return the seconds of trials on some tasks, if no two trials overlap.

    Args:
        study: the study.
        cost: what a step and the evaluation of an image cost.
        tasks: the tasks.
        planned: the trials.
        rungs: the epochs after which a trial is scored, beside the last.
    """
    training, asha = study.config.training, study.config.search.asha
    evaluation = cost.image * sum(len(part.records) for task in tasks for part in task.evaluations)
    steps = sum(max(1, len(task.train.records) // training.batch_size) for task in tasks)
    shots = sum(len(task.train.records) / len(task.train.classes) for task in tasks)
    seconds = 0.0
    for one in planned:
        of_trial = evaluation
        if one.method and one.method.steps_per_shot:
            images = (one.method.batch_size or training.batch_size) * one.method.relative_cost
            own_steps = one.method.steps_per_shot * shots
            of_trial += own_steps * cost.step * images / training.batch_size
        elif one.trains:
            factor = asha.reduction_factor if asha and one.is_stopped_early else 1.0
            of_trial = 0.0
            for rung, (begin, end) in enumerate(pairwise([0, *rungs, training.epochs])):
                of_trial += factor**-rung * ((end - begin) * steps * cost.step + evaluation)
        seconds += one.trials * of_trial
    return seconds
