"""How long a study would take and how much memory its trials need, from steps that are measured.

The steps are real: the study's backbone, prompts, batch size and precision, with random pixels.
They tune CLIPFit's own subset, which reaches through all layers of both encoders; a subset of upper
layers takes less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.filesize import decimal

from study.analysis.formatting import duration
from study.config.schema import PeerConfig, SearchConfig, TrainingConfig
from study.data.prompts import prompts
from study.data.tasks import Task
from study.errors import StudyError
from study.search.driver import decisions
from study.trial.cost import Cost, measure_apart
from study.trial.prepare import find_shots, tasks_of_search, templates_of
from study.trial.study import Study
from study.workflow.facts import slots_here


@dataclass(frozen=True)
class Estimate:
    """How long a study takes, without decoding, the start of processes, and the report."""

    search: float
    """The seconds of the search, if successive halving stops as many trials as it should.

    At most ``search.minutes``, beside the baselines and what is trained after the search."""
    test: float
    """The seconds of the test of all candidates."""
    slots: int
    """The number of trials at once."""
    cost: Cost

    def __str__(self) -> str:
        """Return it in sentences."""
        at_once = "1 trial" if self.slots == 1 else f"{self.slots} trials"
        search, test = duration(self.search), duration(self.test)
        return (
            f"about {duration(self.search + self.test)}: {search} for the search and {test} for "
            f"the test, with {at_once} at once, by the time of real steps "
            f"({1000 * self.cost.step:.0f} ms) and evaluations ({1000 * self.cost.image:.1f} ms an "
            f"image) of CLIPFit; a trial needs about {decimal(self.cost.memory)} of memory. Not "
            "counted: decoding images, starting processes, peers that train otherwise, the report"
        )


def estimate(study: Study) -> Estimate:
    """Measure steps in a process of its own, and return what a study would take.

    Raises:
        StudyError: no trial fits on this machine, or the data or the backbone cannot be read.
    """
    config, protocol, dataset = study.config, study.protocol(), study.dataset()
    if not (at_once := slots_here(config.resources)):
        raise StudyError(
            "--estimate takes steps on this machine, and no trial fits on it: see "
            f"resources.cpus_per_trial={config.resources.cpus_per_trial:g} and "
            f"resources.gpus_per_trial={config.resources.gpus_per_trial:g}; a machine of the "
            "cluster can be asked on which one does"
        )
    trained = next(iter(protocol.scored(dataset).values()))
    names = [dataset.class_names[label] for label in trained]
    texts = [own[0] for own in prompts(names, templates_of(dataset, config.data)[:1])]
    threads = max(1, int(config.resources.cpus_per_trial))
    gpu = bool(config.resources.gpus_per_trial)
    cost = measure_apart(config.backbone, config.training, texts, threads, gpu)
    return expected(study, cost, at_once)


def expected(study: Study, cost: Cost, slots: int) -> Estimate:
    """Return what a study would take, by what its parts cost.

    Args:
        study: the study.
        cost: what a step and the evaluation of an image cost.
        slots: the number of trials at once.

    Raises:
        StudyError: the data cannot be read.
    """
    config, protocol, dataset = study.config, study.protocol(), study.dataset()
    search = 0.0
    if protocol.searches(config):
        tasks = tasks_of_search(study, find_shots(study, config.seed))
        baselines, variants, proposed = _trials(study)
        whole = _seconds(tasks, config.training.epochs, config.training, cost)
        halved = _seconds(tasks, _expected_epochs(study), config.training, cost)
        search = baselines * whole + proposed * halved
        if config.search.minutes is not None:  # baselines are trained in any case
            most = 60 * config.search.minutes * slots
            search = min(search, max(most, baselines * whole))
        search += variants * whole
    seed, *_ = seeds = protocol.shot_seeds(config)
    shots = find_shots(study, seed) if protocol.trains else None
    task = protocol.confirm_task(dataset, shots)
    epochs = config.training.epochs if protocol.trains else 0
    tested = _seconds([task], epochs, config.training, cost, looks=1)
    test = len(seeds) * _tested(study) * tested
    return Estimate(search / slots, test / slots, slots, cost)


def _seconds(
    tasks: Sequence[Task],
    epochs: float,
    training: TrainingConfig,
    cost: Cost,
    *,
    looks: float | None = None,
) -> float:
    """Return what a trial takes on some tasks, evaluated after each epoch or ``looks`` times."""
    images = sum(len(part.records) for task in tasks for part in task.evaluations)
    steps = sum(max(1, len(task.train.records) // training.batch_size) for task in tasks)
    return epochs * steps * cost.step + (epochs if looks is None else looks) * images * cost.image


def _expected_epochs(study: Study) -> float:
    """Return the mean number of epochs of a trial if halving stops as many as it should."""
    asha, epochs = study.config.search.asha, study.config.training.epochs
    ends = [*decisions(asha, epochs), epochs]
    factor = asha.reduction_factor if asha else 1.0
    return sum((end - begin) / factor**n for n, (begin, end) in enumerate(pairwise([0, *ends])))


def _trials(study: Study) -> tuple[int, int, int]:
    """Return how many trials of the search are baselines, their variants, and proposed.

    Variants are the baselines and the best proposal with head and strength, after the search.
    Proposed trials may be stopped.
    """
    search = study.config.search
    baselines = _trained(search) - len(search.peer_arms)
    variants = (baselines + 1) * len(search.space.heads)
    return baselines, variants, search.planned - len(search.fixed)


def _trained(search: SearchConfig) -> int:
    """Return how many baselines train the encoders, or a peer's."""
    given = search.baselines.values()
    return sum(
        isinstance(own, PeerConfig) or own.subset != "none" or own.peer is not None for own in given
    )


def _tested(study: Study) -> int:
    """Return how many candidates are trained for each seed of the test, at most."""
    config, protocol = study.config, study.protocol()
    if not protocol.searches(config):
        return len(protocol.tested_as_given(config))
    tuned_winner_smallest = 3
    return _trained(config.search) + tuned_winner_smallest + config.confirm.runners_up
