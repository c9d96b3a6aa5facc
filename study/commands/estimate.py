"""An estimate of the time of a study, from measured steps.

The steps are real: the study's backbone, prompts, batch size and precision, with random pixels.
They tune CLIPFit's own subset, which reaches through all layers of both encoders; a subset of upper
layers takes less, and full fine-tuning more.
"""

from collections.abc import Sequence
from itertools import pairwise

from study.commands.check_result import Estimate, Fact
from study.data.prompts import prompts
from study.data.tasks import Task
from study.errors import StudyError
from study.search.cluster import count_slots
from study.search.planned_trials import PlannedTrials, plan_trials
from study.trial.cost import Cost, measure_in_processes
from study.trial.prepare import (
    configured_templates,
    find_shots,
    labelled_task,
    rung_epochs,
    tasks_of_search,
)
from study.trial.study import Study

BUSY = 0.85
"""The share of the time of a step in which its processes compute trials, as on two cores."""
MOST_MEASURED = 8
"""The most processes that are measured at once."""


def plan_fact(study: Study) -> Fact:
    """Return how many trials each step of a new study will run.

    Raises:
        StudyError: the backbone cannot be read.
    """
    parts = []
    for step, planned in plan_trials(study).items():
        if planned:
            parts.append(f"{sum(one.trials for one in planned)} in the {step}")
    return Fact("trials", f"at most {', '.join(parts)}")


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
    config, protocol, plan = study.config, study.protocol, plan_trials(study)
    shots = find_shots(study, protocol.shot_seeds(config)[0]) if protocol.trains else None
    task = protocol.task_of_test(study.dataset, shots, study.targets())
    test = _seconds(study, cost, [task], plan["test"])
    search = final = 0.0
    if shots and plan["search"]:
        tasks = tasks_of_search(study, shots)
        rungs = rung_epochs(config.search.asha, config.training.epochs)
        search = _seconds(study, cost, tasks, plan["search"], rungs=rungs)
        if config.search.minutes is not None and not config.ablation:
            # Baselines are all trained.
            baselines = [one for one in plan["search"] if one.trains and not one.is_stopped_early]
            least = _seconds(study, cost, tasks, baselines, rungs=rungs)
            search = min(search, max(60 * config.search.minutes * slots, least))
    if shots and plan["final training"]:
        final = _seconds(study, cost, [labelled_task(study, shots)], plan["final training"])
    steps = [planned for planned in plan.values() if planned]
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

    They are scored after their last epoch, and after those in ``rungs``.
    """
    training, asha = study.config.training, study.config.search.asha
    evaluation = cost.image * sum(len(part.records) for task in tasks for part in task.evaluations)
    steps = sum(max(1, len(task.train.records) // training.batch_size) for task in tasks)
    shots = sum(len(task.train.records) / len(task.train.classes) for task in tasks)
    seconds = 0.0
    for one in planned:
        of_trial = evaluation
        if one.method and one.method.steps_per_shot:
            size = (one.method.batch_size or training.batch_size) / training.batch_size
            of_trial += one.method.steps_per_shot * shots * size * cost.step
        elif one.trains:
            factor = asha.reduction_factor if asha and one.is_stopped_early else 1.0
            of_trial = 0.0
            for rung, (begin, end) in enumerate(pairwise([0, *rungs, training.epochs])):
                of_trial += factor**-rung * ((end - begin) * steps * cost.step + evaluation)
        seconds += one.trials * of_trial
    return seconds
