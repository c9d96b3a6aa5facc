"""The texts that a study prints before it runs: what it is, its plan, and what it works on."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console

from study.config.labels import LINEAR
from study.config.schema import AblationConfig, DataConfig, ResourcesConfig, StudyConfig
from study.data.prompts import prompts
from study.data.readers.published import differing_counts
from study.data.records import Dataset
from study.data.shots import ALL, val_shots_per_class
from study.method.device import list_gpus
from study.method.parameters import count_numbers
from study.method.peers import PEERS
from study.method.subsets import parse
from study.process.terminal_table import TerminalTable, amount
from study.protocols import Protocol
from study.report.formatting import format_count, percent
from study.report.setting_descriptions import unequal_in_words
from study.search.machine import joins_cluster
from study.selection.candidates import possible_variants
from study.selection.chance import balanced_chance
from study.trial.prepare import configured_templates
from study.trial.study import Study
from study.workflow.start_warnings import print_warnings

TITLES = {LINEAR: "a linear classifier on frozen CLIP"}
"""The titles of methods other than CLIPFit, by the labels that they usually have."""
TITLES |= {peer: row.title for peer, row in PEERS.items()}
MOST_CLASS_NAMES = 3
"""The largest number of class names to print."""


def announce(study: Study, console: Console) -> None:
    """Print what a study is, its plan, what it works on, and warnings."""
    config = study.config
    protocol = study.protocol
    shots = ""
    if protocol.trains:
        shots = "all labelled images, "
        if config.data.shots != ALL:
            shots = f"{amount(config.data.shots, 'shot')} (labelled images of each class), "
    title = (
        f"[bold]{study.folder.name}[/]: {config.protocol} on {config.data.dataset}, {shots}"
        f"results in {study.folder.path}"
    )
    console.print(title, highlight=False)
    _print_rows([*plan_rows(study), *study_rows(study)], console)
    print_warnings([study], console)


def plan_rows(study: Study) -> list[tuple[str, str]]:
    """Return which trials a study will run, and how many seeds test their choice, as `study_rows`.

    Raises:
        StudyError: the backbone cannot be read.
    """
    config = study.config
    protocol = study.protocol
    seeds = amount(len(protocol.shot_seeds(config)), "seed")
    if seeds != "1 seed":
        seeds += " (repeated trainings)"
    if config.ablation:
        plan = _plan_of_ablation(study, config.ablation, validates=protocol.validates(config))
        return [*plan, ("test", f"each cell with {seeds}")]
    if not protocol.searches(config):
        tested = amount(len(protocol.fixed_settings(config)), "configuration")
        return [("test", f"{tested}, with {seeds}; nothing is searched")]
    rows = list(_plan_of_search(config, protocol))
    average = ""
    if config.refit.average > 1:
        average = f", the average of the best {config.refit.average},"
    rows.append(("test", f"what is chosen{average} and the baselines, with {seeds}"))
    if config.refit.images != "shots":
        again = f"what is chosen, trained once more (refit.images={config.refit.images})"
        rows.append(("ships", again))
    return rows


def _plan_of_search(config: StudyConfig, protocol: Protocol) -> Iterator[tuple[str, str]]:
    """Yield the parts of a search, the cheapest first."""
    baselines, tuned, searched = config.search.budget
    yield (
        "search",
        f"{amount(config.search.trials, 'trial')}: {amount(baselines, 'baseline')}, {tuned} of "
        f"CLIPFit's parameters at other learning rates, {searched} of other parameters",
    )
    besides = []
    for label in config.search.peers:
        trials = 1
        if label in config.search.peer_arms:
            trials = config.search.peer_trials
        besides.append(f"{trials} of {TITLES.get(label, label)}")
    variants = len(possible_variants(config, protocol.configured_strength(config)))
    if variants:
        besides.append(f"up to {variants} of baselines with another head or strength")
    if besides:
        yield "", f"beside them {', '.join(besides)}"
    if config.search.minutes is not None:
        minutes = amount(config.search.minutes, "minute")
        yield "", f"ends after {minutes} at the latest; tests come after them"
    if config.search.patience:
        yield "", "ends when more trials promise nothing that validation could tell"


def _plan_of_ablation(
    study: Study, ablation: AblationConfig, *, validates: bool
) -> Iterator[tuple[str, str]]:
    # Ray takes seconds to import, and a check, which prints no plan, does without it.
    from study.search.ablation_search import rate_grids

    sizes = [grid.size for grid in rate_grids(study).values()]
    rates = amount(max(sizes), "learning rate")
    if isinstance(ablation.rates, dict):
        rates = f"{amount(max(sizes), 'combination')} of learning rates"
    cells = f"{amount(len(sizes), 'cell')} that tune different parts of a subset"
    yield "ablation", f"{cells} (design {ablation.design}), with {rates} each"
    if validates:
        trials = f"{amount(sum(sizes), 'trial')} to choose their rates"
        if ablation.extend:
            trials += ", more where the best rate is the lowest or the highest"
        yield "search", trials


def print_study_rows(study: Study, console: Console) -> None:
    """Print what a study will work on, a line each, with the word for it in front."""
    _print_rows(study_rows(study), console)


def _print_rows(rows: Sequence[tuple[str, str]], console: Console) -> None:
    table = TerminalTable(["", ""], rows, words=2, lines=False)
    console.print(table, highlight=False)


def study_rows(study: Study) -> list[tuple[str, str]]:
    """Return what a study will work on: pairs of a word and its description.

    Raises:
        StudyError: the data or the backbone cannot be read.
    """
    config, protocol, dataset = study.config, study.protocol, study.dataset
    rows = [("classes", _describe_classes(dataset))]
    rows += [("images", line) for line in _describe_images(config, protocol, dataset)]
    for target in study.targets():
        tested = f"{format_count(len(target.test))} in test{_describe_published(target)}"
        rows.append(("target", f"{_describe_classes(target)}; {tested}"))
    rows.append(("prompts", _describe_prompts(config.data, dataset)))
    architecture = study.architecture
    numbers = format_count(architecture.count_all())
    depths = architecture.depths
    size = architecture.image_size
    backbone = (
        f"{config.backbone.name}, a model of {numbers} numbers: {amount(depths.text, 'layer')} for "
        f"text, {depths.vision} for images of {size} × {size} pixels"
    )
    rows.append(("backbone", backbone))
    tuned = format_count(count_numbers(architecture, parse("clipfit").resolve(depths)))
    tuned += " of these numbers by CLIPFit as published; trials tune these or others"
    rows.append(("tuned", tuned))
    rows.append(("trials", describe_concurrency(config.resources)))
    # Further datasets have their own classes, and the parts of the test are of all.
    if not config.data.targets:
        rows += [("chance", line) for line in _describe_chance(protocol, dataset)]
    return rows


def _describe_classes(dataset: Dataset) -> str:
    names = dataset.class_names
    text = f"{len(names)} of {dataset.name}: {', '.join(names[:MOST_CLASS_NAMES])}"
    if len(names) > MOST_CLASS_NAMES:
        text += ", …"
    return text


def _describe_images(config: StudyConfig, protocol: Protocol, dataset: Dataset) -> Iterator[str]:
    """Yield how many images there are, and how they are used."""
    splits = {"train": dataset.train, "validation": dataset.val, "test": dataset.test}
    counts = [f"{format_count(len(records))} in {name}" for name, records in splits.items()]
    yield ", ".join(counts) + _describe_published(dataset)
    if not protocol.trains:
        return
    shots = config.data.shots
    line = f"{shots} of each class are drawn to learn from (data.shots=all takes all)"
    if shots == 1:
        line = "1 of each class is drawn to learn from (data.shots=all takes all)"
    if shots == ALL:
        line = "all are learned from"
    if protocol.validates(config) and protocol.rules:
        if shots != ALL:
            line += f", {val_shots_per_class(shots, config.data.val_shots)} to validate"
        line += f"; trials are compared {protocol.rule(config, dataset).sentence}"
    yield line
    unequal = unequal_in_words(config)
    if unequal:
        yield unequal


def _describe_published(dataset: Dataset) -> str:
    """Return the published counts of a benchmark dataset, if this copy has other ones."""
    published = differing_counts(dataset)
    if published is None:
        return ""
    classes, train, val, test = map(format_count, published)
    return (
        f" (as published: {train} in train, {val} in validation, {test} in test, of {classes} "
        "classes)"
    )


def _describe_prompts(data: DataConfig, dataset: Dataset) -> str:
    templates = configured_templates(dataset, data)
    examples = [f"“{texts[0]}”" for texts in prompts(dataset.class_names[:2], templates)]
    text = ", ".join(examples)
    if len(templates) > 1:
        text += f", and {len(templates) - 1} more of each class"
    return text


def describe_concurrency(resources: ResourcesConfig) -> str:
    """Return how many trials run at once, and on what, as far as is known before Ray starts."""
    each = amount(resources.cpus_per_trial, "CPU core")
    if resources.gpus_per_trial:
        each += f" and {amount(resources.gpus_per_trial, 'GPU')}"
    slots = count_slots(resources)
    # The check has refused what fits nowhere.
    if not slots or joins_cluster():
        most = resources.max_concurrent
        if most is None:
            return f"as many at once as the cluster has room for, each on {each}"
        return f"up to {most} at once, each on {each}"
    text = f"{slots} at once, each on {each} of {count_cores()}"
    gpus = list_gpus()
    if gpus and not resources.gpus_per_trial:
        text += f"; the GPU ({gpus[0]}) is not used: resources.gpus_per_trial=1 uses it"
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


def _describe_chance(protocol: Protocol, dataset: Dataset) -> Iterator[str]:
    """Yield the score of guessing on test, unless a part of the test has no image."""
    labels = {record.label for record in dataset.test}
    one_of_each: Counter[tuple[str, str, str]] = Counter()
    for part, of_part in protocol.scored(dataset).items():
        tested = labels.intersection(of_part)
        if not tested:
            return
        for label in tested:
            one_of_each[part, str(label), str(label)] += 1
    score = balanced_chance(one_of_each, protocol)
    metric = f"balanced {protocol.metric} on test, in which every class counts alike"
    if protocol.class_averaged:
        metric = f"{protocol.metric} on test"
    yield f"guessing would score {percent(score)} % ({metric})"
