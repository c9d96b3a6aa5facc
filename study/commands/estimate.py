"""An estimate of the time of a study and the memory of its trials, from measured steps.

The steps are real: the study's backbone, prompts, batch size and precision, with random pixels.
They tune CLIPFit's own subset, which reaches through all layers of both encoders; a subset of upper
layers takes less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.filesize import decimal

from study.commands.announcement import count_slots
from study.config.baselines import PeerConfig
from study.config.search_section import SearchConfig
from study.data.prompts import prompts
from study.data.tasks import Task
from study.errors import StudyError
from study.method.head import VIEWS
from study.report.sentences import sentences
from study.search.ablation_search import rate_grids
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
    """How long a study takes, without decoding, the start of processes, and the report."""

    search: float
    """The seconds of the search, if successive halving stops as many trials as it should.

    Of an ablation, those of the rates that it tries at first. At most those of ``search.minutes``,
    unless the baselines alone take longer."""
    test: float
    """The seconds of the test of all candidates."""
    slots: int
    """The number of trials at once."""
    cost: Cost
    minutes: float | None = None
    """The longest time of the search that the study has set; None means there is no limit."""
    final: float = 0.0
    """The seconds of the training of the final model, and of its test; 0 where there is none."""
    answers: float = 0.0
    """The seconds of one process until what trains no encoder is scored; 0 without a search."""

    @property
    def total(self) -> float:
        """The seconds of the whole study."""
        return self.search + self.test + self.final

    def __str__(self) -> str:
        """Return the estimate in sentences: the total, and the times of its parts."""
        (text,) = sentences("commands/estimate", estimate=self, memory=decimal(self.cost.memory))
        return text

    def values(self) -> dict[str, float | None]:
        """Return the estimate for other programs."""
        return {
            "search_seconds": self.search,
            "test_seconds": self.test,
            "final_seconds": self.final,
            "total_seconds": self.total,
            "trials_at_once": self.slots,
            "step_seconds": self.cost.step,
            "image_seconds": self.cost.image,
            "memory_bytes": self.cost.memory,
            "search_minutes": self.minutes,
        }


def estimate(study: Study) -> Estimate:
    """Measure steps in a separate process, and return what a study would take.

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
    return estimate_from_cost(study, cost, slots)


def estimate_from_cost(study: Study, cost: Cost, slots: int) -> Estimate:
    """Return what a study would take, by what its steps cost.

    Args:
        study: the study.
        cost: what a step and the evaluation of an image cost.
        slots: the number of trials at once.

    Raises:
        StudyError: the data cannot be read.
    """
    config = study.config
    search = final = answers = 0.0
    if study.protocol.validates(config):
        tasks = tasks_of_search(study, find_shots(study, config.seed))
        epochs = config.training.epochs
        rungs = rung_epochs(config.search.asha, epochs)
        full_trial = _trial_seconds(study, cost, tasks, epochs, len(rungs) + 1)
        if config.ablation:
            search = full_trial * sum(grid.size for grid in rate_grids(study).values())
        else:
            mean_epochs, evaluations = _expected_work(study)
            halved_trial = _trial_seconds(study, cost, tasks, mean_epochs, evaluations)
            search = _estimate_search(config.search, full_trial, halved_trial, slots)
            final = _estimate_final(study, cost)
            answers = _estimate_answers(study, cost, tasks)
    test = _estimate_test(study, cost)
    return Estimate(
        search / slots,
        test / slots,
        slots,
        cost,
        final=final,
        answers=answers,
        minutes=config.search.minutes,
    )


def _estimate_search(
    search: SearchConfig, full_trial: float, halved_trial: float, slots: int
) -> float:
    """Return the seconds of the search, if no two trials overlap."""
    arms = search.peer_arms.keys()
    free = search.quick_peers
    baselines = full_trial * (_count_trained(search) - len(arms - free))
    proposed = search.planned_trials - len(search.fixed_baselines)
    proposed -= search.peer_trials * len(arms & free)
    seconds = baselines + halved_trial * proposed
    if search.minutes is not None:  # baselines are trained in any case
        seconds = min(seconds, max(60 * search.minutes * slots, baselines))
    return seconds


def _estimate_answers(study: Study, cost: Cost, tasks: Sequence[Task]) -> float:
    """Return the seconds in which the images of the search, and their views, pass the encoder."""
    images = sum(len(part.records) for task in tasks for part in task.evaluations)
    if study.config.data.augment:
        trained = {record.path for task in tasks for record in task.train.records}
        images += VIEWS * len(trained)
    return images * cost.image


def _estimate_test(study: Study, cost: Cost) -> float:
    """Return the seconds of the test of all candidates, if no two trials overlap."""
    config = study.config
    protocol = study.protocol
    seeds = protocol.shot_seeds(config)
    shots = None
    epochs = 0
    if protocol.trains:
        shots = find_shots(study, seeds[0])
        epochs = config.training.epochs
    task = protocol.task_of_test(study.dataset, shots)
    seconds = _trial_seconds(study, cost, [task], epochs, 1)
    tested = len(protocol.fixed_settings(config))
    if config.ablation:
        tested = len(rate_grids(study))
    if protocol.searches(config):
        tuned_and_best = 2
        tested = _count_trained(config.search) + tuned_and_best + config.test.runners_up
    return len(seeds) * tested * seconds


def _estimate_final(study: Study, cost: Cost) -> float:
    """Return the seconds of the training of the final model, and of its test."""
    config = study.config
    if config.final.images == "shots":
        return 0.0
    shots = find_shots(study, config.seed)
    task = labelled_task(study, shots)
    epochs = config.training.epochs
    training = _trial_seconds(study, cost, [task], epochs, 0)
    test = _trial_seconds(study, cost, [task], 0, 1)
    return training + test


def _trial_seconds(
    study: Study,
    cost: Cost,
    tasks: Sequence[Task],
    epochs: float,
    evaluations: float,
) -> float:
    """Return the seconds of a trial on some tasks.

    Args:
        study: the study.
        cost: what a step and the evaluation of an image cost.
        tasks: the tasks.
        epochs: the number of epochs.
        evaluations: how often the images are evaluated.
    """
    images = steps = 0
    for task in tasks:
        images += sum(len(part.records) for part in task.evaluations)
        steps += max(1, len(task.train.records) // study.config.training.batch_size)
    return epochs * steps * cost.step + evaluations * images * cost.image


def _expected_work(study: Study) -> tuple[float, float]:
    """Return a trial's mean numbers of epochs and evaluations, if halving stops as it should."""
    asha = study.config.search.asha
    epochs = study.config.training.epochs
    ends = [0, *rung_epochs(asha, epochs), epochs]
    factor = asha.reduction_factor if asha else 1.0
    mean_epochs = evaluations = 0.0
    for rung, (begin, end) in enumerate(pairwise(ends)):
        share = factor**-rung
        mean_epochs += share * (end - begin)
        evaluations += share
    return mean_epochs, evaluations


def _count_trained(search: SearchConfig) -> int:
    """Return how many baselines train the encoders, or the parameters of a peer."""
    free = search.quick_peers
    return sum(
        isinstance(baseline, PeerConfig) or baseline.subset != "none" or baseline.peer is not None
        for label, baseline in search.baselines.items()
        if label not in free
    )
