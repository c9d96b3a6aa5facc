"""The texts that a study prints before it runs: what it is, its plan, and what it works on."""

import os
from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from study.commands.start_warnings import print_warnings
from study.config.labels import LINEAR
from study.config.schema import ResourcesConfig
from study.data.prompts import prompts
from study.data.readers.published import differing_counts
from study.data.records import Dataset
from study.data.shots import val_shots_per_class
from study.method.device import list_gpus
from study.method.parameters import count_numbers
from study.method.peers import PEERS
from study.method.recipe import are_unequal
from study.method.subsets import parse
from study.process.terminal_table import TerminalTable
from study.protocols import Protocol
from study.report.sentences import rows, sentences
from study.report.setting_descriptions import unequal_in_words
from study.results.chance import balanced_chance
from study.search.machine import joins_cluster
from study.trial.prepare import configured_templates
from study.trial.study import Study

TITLES = {LINEAR: "a linear classifier on frozen CLIP"}
"""The titles of methods other than CLIPFit, by the labels that they usually have."""
TITLES |= {peer: row.title for peer, row in PEERS.items()}


def announce(study: Study, console: Console) -> None:
    """Print what a study is, its plan, what it works on, and warnings."""
    console.print(*sentences("commands/announcement", study=study), highlight=False)
    print_rows([*plan_rows(study), *study_rows(study)], console)
    print_warnings([study], console)


def plan_rows(study: Study) -> list[tuple[str, str]]:
    """Return which trials a study will run, and how many seeds test their choice, as `study_rows`.

    Raises:
        StudyError: the backbone cannot be read.
    """
    grid_sizes = []
    if study.config.ablation:
        # Ray takes seconds to import, and a check, which prints no plan, does without it.
        from study.search.ablation_search import rate_grids

        grid_sizes = [grid.size for grid in rate_grids(study).values()]
    return rows(
        "commands/plan",
        study=study,
        grid_sizes=grid_sizes,
        titles=TITLES,
    )


def print_rows(pairs: Sequence[tuple[str, str]], console: Console) -> None:
    """Print pairs of a word and its description, a line each."""
    table = TerminalTable(["", ""], pairs, words=2, lines=False)
    console.print(table, highlight=False)


def study_rows(study: Study) -> list[tuple[str, str]]:
    """Return what a study will work on: pairs of a word and its description.

    Raises:
        StudyError: the data or the backbone cannot be read.
    """
    config = study.config
    architecture = study.architecture
    templates = configured_templates(study.dataset, config.data)
    clipfit = parse("clipfit").resolve(architecture.depths)
    sizes = Counter(record.label for record in study.dataset.train)
    return rows(
        "commands/study_rows",
        study=study,
        unequal=unequal_in_words(config, unequal=are_unequal(sizes.values())),
        differing_counts=differing_counts,
        val_shots_per_class=val_shots_per_class,
        templates=templates,
        examples=prompts(study.dataset.class_names[:2], templates),
        tuned=count_numbers(architecture, clipfit),
        concurrency=describe_concurrency(config.resources),
        chance=None if config.data.targets else _find_chance(study.protocol, study.dataset),
    )


def describe_concurrency(resources: ResourcesConfig) -> str:
    """Return how many trials run at once, and on what, as far as is known before Ray starts."""
    (text,) = sentences(
        "commands/concurrency",
        resources=resources,
        slots=count_slots(resources),
        joins_cluster=joins_cluster(),
        cores=count_cores(),
        gpus=list_gpus(),
    )
    return text


def count_slots(resources: ResourcesConfig) -> int:
    """Return how many trials run at once on this machine, if no cluster is joined."""
    slots = int(count_cores() / resources.cpus_per_trial)
    if resources.gpus_per_trial:
        slots = min(slots, int(len(list_gpus()) / resources.gpus_per_trial))
    if resources.max_concurrent is not None:
        slots = min(slots, resources.max_concurrent)
    return slots


def count_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _find_chance(protocol: Protocol, dataset: Dataset) -> float | None:
    """Return the balanced score of guessing; None if a part has no test image."""
    labels = {record.label for record in dataset.test}
    one_of_each: Counter[tuple[str, str, str]] = Counter()
    for part, of_part in protocol.scored(dataset).items():
        tested = labels.intersection(of_part)
        if not tested:
            return None
        one_of_each.update((part, str(label), str(label)) for label in tested)
    return balanced_chance(one_of_each, protocol)
