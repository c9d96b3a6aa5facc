"""How long a study would take and how much memory its trials need, from steps that are measured.

The steps are real: the study's backbone, prompts, batch size and precision, with random pixels.
They tune CLIPFit's own subset, which reaches through all layers of both encoders; a subset of upper
layers takes less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.filesize import decimal

from study.config.baselines import PeerConfig
from study.config.schema import TrainingConfig
from study.config.search_section import SearchConfig
from study.data.prompts import prompts
from study.data.tasks import Task
from study.errors import StudyError
from study.method.peers import PEERS
from study.process.terminal_table import amount
from study.search.driver import rung_epochs
from study.selection.candidates import possible_variants
from study.trial.cost import Cost, measure_apart
from study.trial.prepare import configured_templates, find_shots, tasks_of_search
from study.trial.study import Study
from study.workflow.announcement import count_slots


@dataclass(frozen=True)
class Estimate:
    """How long a study takes, without decoding, the start of processes, and the report."""

    search: float
    """The seconds of the search, if successive halving stops as many trials as it should.

    At most those of ``search.minutes``, unless the baselines alone take longer."""
    variants: float
    """The seconds of the trials that come after the search; see `possible_variants`."""
    test: float
    """The seconds of the test of all candidates."""
    slots: int
    """The number of trials at once."""
    cost: Cost
    minutes: float | None = None
    """The longest time of the search that the study has set; None means there is no limit."""

    @property
    def total(self) -> float:
        """The seconds of the whole study."""
        return self.search + self.variants + self.test

    def __str__(self) -> str:
        """Return it in sentences: the sum, the search, and what comes beside it."""
        at_once = amount(self.slots, "trial")
        search, variants, test, beside, total = self._times()
        parts = f"{test} for the test"
        if self.variants:
            parts = (
                f"{beside}: {variants} for the baselines with other heads and strengths, {parts}"
            )
        if self.search:
            parts = f"{search} for the search{self._limit()}, and after it {parts}"
        return (
            f"about {total} with {at_once} at once: {parts}. This is by the "
            f"measured time of training steps of CLIPFit ({1000 * self.cost.step:.0f} ms each) and "
            f"of evaluation ({1000 * self.cost.image:.1f} ms an image); a trial needs about "
            f"{decimal(self.cost.memory)} of memory. Not counted: decoding images, starting "
            "processes, the search of other methods such as full fine-tuning, the report"
        )

    def _times(self) -> list[str]:
        """Return the time of each part, of what is beside the search, and of all, in one unit.

        The sums are those of the rounded parts, so that they add up for a reader.
        """
        unit, digits, name = 3600, 1, "h"
        if self.total < 7200:
            unit, digits, name = 60, 0, "min"
        if self.total < 120:
            unit, digits, name = 1, 0, "s"
        parts = [round(part / unit, digits) for part in (self.search, self.variants, self.test)]
        beside = sum(parts[1:])
        return [f"{time:.{digits}f} {name}" for time in (*parts, beside, parts[0] + beside)]

    def _limit(self) -> str:
        """Return what the study has set as the time of the search, as words in brackets."""
        if self.minutes is None:
            return ""
        return f" (at most search.minutes={self.minutes:g}, or what the baselines need)"


def estimate(study: Study) -> Estimate:
    """Measure steps in a process of its own, and return what a study would take.

    Raises:
        StudyError: no trial fits on this machine, or the data or the backbone cannot be read.
    """
    config, protocol, dataset = study.config, study.protocol(), study.dataset()
    if not (at_once := count_slots(config.resources)):
        raise StudyError(
            "--estimate takes training steps on this machine, which has no room for a trial: see "
            f"resources.cpus_per_trial={config.resources.cpus_per_trial:g} and "
            f"resources.gpus_per_trial={config.resources.gpus_per_trial:g}; run it on "
            "a machine of the cluster that has room"
        )
    trained = next(iter(protocol.scored(dataset).values()))
    names = [dataset.class_names[label] for label in trained]
    texts = [own[0] for own in prompts(names, configured_templates(dataset, config.data)[:1])]
    threads = max(1, int(config.resources.cpus_per_trial))
    gpu = bool(config.resources.gpus_per_trial)
    cost = measure_apart(config.backbone, config.training, texts, threads, gpu)
    return estimate_from_cost(study, cost, at_once)


def estimate_from_cost(study: Study, cost: Cost, slots: int) -> Estimate:
    """Return what a study would take, by what its parts cost.

    Args:
        study: the study.
        cost: what a step and the evaluation of an image cost.
        slots: the number of trials at once.

    Raises:
        StudyError: the data cannot be read.
    """
    config, protocol, dataset = study.config, study.protocol(), study.dataset()
    search = variants = 0.0
    if protocol.searches(config):
        tasks = tasks_of_search(study, find_shots(study, config.seed))
        whole = _seconds(tasks, config.training.epochs, config.training, cost)
        halved = _seconds(tasks, _expected_epochs(study), config.training, cost)
        arms = config.search.peer_arms.keys()
        free = _nearly_free(config.search)
        baselines = whole * (_trained(config.search) - len(arms - free))
        proposed = config.search.planned_trials - len(config.search.fixed_baselines)
        proposed -= config.search.peer_trials * len(arms & free)
        search = baselines + halved * proposed
        if config.search.minutes is not None:  # baselines are trained in any case
            search = min(search, max(60 * config.search.minutes * slots, baselines))
        labels = possible_variants(config, protocol.configured_strength(config))
        variants = whole * sum(label.rpartition("-")[0] not in free for label in labels)
    seed, *_ = seeds = protocol.shot_seeds(config)
    shots = find_shots(study, seed) if protocol.trains else None
    task = protocol.confirm_task(dataset, shots)
    epochs = config.training.epochs if protocol.trains else 0
    tested = _seconds([task], epochs, config.training, cost, looks=1)
    test = len(seeds) * _tested(study) * tested
    return Estimate(
        search / slots, variants / slots, test / slots, slots, cost, config.search.minutes
    )


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
    ends = [*rung_epochs(asha, epochs), epochs]
    factor = asha.reduction_factor if asha else 1.0
    return sum((end - begin) / factor**n for n, (begin, end) in enumerate(pairwise([0, *ends])))


def _trained(search: SearchConfig) -> int:
    """Return how many baselines train the encoders, or a peer's."""
    free = _nearly_free(search)
    return sum(
        isinstance(own, PeerConfig) or own.subset != "none" or own.peer is not None
        for label, own in search.baselines.items()
        if label not in free
    )


def _nearly_free(search: SearchConfig) -> set[str]:
    """Return the labels of the peers whose steps pass no encoder."""
    methods = search.peer_methods.items()
    return {label for label, method in methods if not PEERS[method].passes_encoders}


def _tested(study: Study) -> int:
    """Return how many candidates are trained for each seed of the test, at most."""
    config, protocol = study.config, study.protocol()
    if not protocol.searches(config):
        return len(protocol.fixed_settings(config))
    tuned_winner_smallest = 3
    return _trained(config.search) + tuned_winner_smallest + config.confirm.runners_up
