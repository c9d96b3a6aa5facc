"""An estimate of the time of a study and the memory of its trials, from measured steps.

The steps are real: the study's backbone, prompts, batch size and precision, with random pixels.
They tune CLIPFit's own subset, which reaches through all layers of both encoders; a subset of upper
layers takes less, and full fine-tuning more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.filesize import decimal

from study.commands.concurrency import count_slots
from study.commands.plan import PlannedTrials, plan_trials
from study.data.prompts import prompts
from study.data.tasks import Task
from study.errors import StudyError
from study.process.terminal_table import amount
from study.trial.cost import Cost, measure_apart
from study.trial.prepare import (
    configured_templates,
    find_shots,
    labelled_task,
    rung_epochs,
    tasks_of_search,
)
from study.trial.study import Study


@dataclass(frozen=True)
class Estimate:
    """How long a study takes. Times are of the whole study on this machine, and not of a trial."""

    search_seconds: float
    """The time of the search, if successive halving stops as many trials as it should.

    At most ``search.minutes``, unless the baselines alone take longer."""
    test_seconds: float
    final_seconds: float
    """The time of the training of the final model, and of its test; 0 where there is none."""
    training_seconds: float
    """The sum of these."""
    wall_seconds: float
    """The time from the start to the report: training, decoding, and the start of processes."""
    trials: int
    """The number of trials of all steps."""
    trials_at_once: int
    step_seconds: float
    image_seconds: float
    memory_bytes: int
    """The memory of a trial."""
    search_minutes: float | None
    """The longest time of the search that the study has set; None means there is no limit."""

    def __str__(self) -> str:
        """Return the estimate in sentences: wall time, training time, and the parts of that."""
        unit, digits, name = 3600, 1, "h"
        if self.wall_seconds < 120:
            unit, digits, name = 1, 0, "s"
        elif self.wall_seconds < 7200:
            unit, digits, name = 60, 0, "min"

        def time(seconds: float) -> str:
            return f"{seconds / unit:.{digits}f} {name}"

        parts = []
        if self.search_seconds:
            limit = ""
            if self.search_minutes is not None:
                limit = (
                    f" (at most search.minutes={self.search_minutes:g}, or what the baselines need)"
                )
            parts.append(f"{time(self.search_seconds)} for the search{limit}")
        parts.append(f"{time(self.test_seconds)} for the test")
        if self.final_seconds:
            parts.append(f"{time(self.final_seconds)} for the final model")
        return (
            f"about {time(self.wall_seconds)} on this machine, of which "
            f"{time(self.training_seconds)} train {amount(self.trials, 'trial')}, "
            f"{self.trials_at_once} at once: {', '.join(parts)}. This is by the measured time of "
            f"training steps of CLIPFit ({1000 * self.step_seconds:.0f} ms each) and of evaluation "
            f"({1000 * self.image_seconds:.1f} ms an image); a trial needs about "
            f"{decimal(self.memory_bytes)} of memory. The rest is decoding images and starting "
            "processes"
        )


def measure_and_estimate(study: Study, *, decoding: float = 0.0) -> Estimate:
    """Measure steps in a separate process, and return what a study would take.

    Args:
        study: the study.
        decoding: the seconds in which an image is decoded.

    Raises:
        StudyError: no trial fits on this machine, or the data or the backbone cannot be read.
    """
    config, protocol, dataset = study.config, study.protocol, study.dataset
    slots = count_slots(config.resources)
    if not slots:
        raise StudyError(
            "--estimate takes training steps on this machine, which has no room for a trial: see "
            f"resources.cpus_per_trial={config.resources.cpus_per_trial:g} and "
            f"resources.gpus_per_trial={config.resources.gpus_per_trial:g}; run it on "
            "a machine of the cluster that has room"
        )
    labels = next(iter(protocol.scored(dataset).values()))
    names = [dataset.class_names[label] for label in labels]
    templates = configured_templates(dataset, config.data)[:1]
    texts = [texts_of_class[0] for texts_of_class in prompts(names, templates)]
    gpu = bool(config.resources.gpus_per_trial)
    cost = measure_apart(config.backbone, config.training, texts, config.resources.threads, gpu)
    return estimate(study, cost, slots, decoding=decoding)


def estimate(study: Study, cost: Cost, slots: int, *, decoding: float = 0.0) -> Estimate:
    """Return what a study would take, by what its steps cost.

    Args:
        study: the study.
        cost: what a step and the evaluation of an image cost.
        slots: the number of trials at once.
        decoding: the seconds in which an image is decoded.

    Raises:
        StudyError: the data cannot be read.
    """
    config, protocol = study.config, study.protocol
    plan = plan_trials(study)
    search = final = 0.0
    images = len(study.dataset.test) + sum(len(target.test) for target in study.targets())
    if plan.search:
        shots = find_shots(study, config.seed)
        tasks = tasks_of_search(study, shots)
        rungs = rung_epochs(config.search.asha, config.training.epochs)
        images += len(shots.train) + len(shots.val)
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
    if drawn:
        images += len(seeds) * len(drawn.train)
    test_task = protocol.task_of_test(study.dataset, drawn)
    test = _seconds(study, cost, [test_task], plan.test)
    steps = [step for step in (plan.search, plan.test, plan.final) if step]
    # The final model is one trial. The processes of each step begin anew, after Ray itself.
    training = (search + test) / slots + final
    return Estimate(
        search_seconds=search / slots,
        test_seconds=test / slots,
        final_seconds=final,
        training_seconds=training,
        wall_seconds=training + (1 + len(steps)) * cost.start + images * decoding,
        trials=sum(one.trials for step in steps for one in step),
        trials_at_once=slots,
        step_seconds=cost.step,
        image_seconds=cost.image,
        memory_bytes=cost.memory,
        search_minutes=config.search.minutes,
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
    seconds = 0.0
    for one in planned:
        factor = asha.reduction_factor if asha and one.is_stopped_early else 1.0
        of_trial = 0.0 if one.trains else evaluation
        ends = [0, *rungs, training.epochs] if one.trains else []
        for rung, (begin, end) in enumerate(pairwise(ends)):
            of_trial += factor**-rung * ((end - begin) * steps * cost.step + evaluation)
        seconds += one.trials * of_trial
    return seconds
