"""What a study prints before it runs: what it is, what it plans, and what it works on."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from rich.console import Console

from study.config.labels import LINEAR
from study.config.schema import AblationConfig, DataConfig, ResourcesConfig, StudyConfig
from study.config.search_section import SearchConfig
from study.data.prompts import prompts
from study.data.readers.published import differing_counts
from study.data.records import Dataset
from study.data.shots import val_shots_per_class
from study.method.device import list_gpus
from study.method.parameters import count_numbers
from study.method.peers import PEERS
from study.method.subsets import parse
from study.process.terminal_table import TerminalTable, amount
from study.protocols import Protocol
from study.report.formatting import format_count, percent
from study.search.machine import joins_cluster
from study.selection.candidates import possible_variants
from study.selection.chance import balanced_chance
from study.trial.prepare import configured_templates
from study.trial.study import Study
from study.workflow.start_warnings import print_warnings

TITLES = {
    LINEAR: "a linear classifier on frozen CLIP",
    **{peer: row.title for peer, row in PEERS.items()},
}
"""What methods other than CLIPFit are called, by the labels that they usually have."""
SHOWN = 3
"""How many class names are shown."""


def announce(study: Study, console: Console) -> None:
    """Print what a study is, its plan, what it works on, and warnings."""
    config, protocol = study.config, study.protocol()
    shots = ""
    if protocol.trains:
        shots = f"{amount(config.data.shots, 'shot')} (labelled images of each class), "
    title = (
        f"[bold]{study.folder.name}[/]: {config.protocol} on {config.data.dataset}, {shots}"
        f"backbone {config.backbone.name}; results in {study.folder.path}"
    )
    console.print(title, highlight=False)
    console.print(describe_plan(study), highlight=False, markup=False)
    print_study_rows(study, console)
    print_warnings([study], console)


def describe_plan(study: Study) -> str:
    """Return which trials a study will run, and how many seeds test their choice."""
    config, protocol = study.config, study.protocol()
    seeds = amount(len(protocol.shot_seeds(config)), "seed")
    if seeds != "1 seed":
        seeds += " (repeated trainings)"
    if config.ablation is not None:
        trials = _plan_of_ablation(study, config.ablation, validates=protocol.validates(config))
        return f"{trials}. Each cell is then tested with {seeds}."
    if not protocol.searches(config):
        tested = amount(len(protocol.fixed_settings(config)), "configuration")
        return f"no search: {tested}, tested with {seeds}."
    trials = _plan_of_search(config, protocol)
    return f"{trials}. What is chosen and the baselines are then tested with {seeds}."


def _plan_of_search(config: StudyConfig, protocol: Protocol) -> str:
    # Ray takes seconds to import, and a check, which prints no plan, does without it.
    from study.search.stages import budget

    baselines, tuned, searched = budget(config)
    limit = ""
    if config.search.minutes is not None:
        limit = f" in at most {amount(config.search.minutes, 'minute')}"
    parts = [
        f"{amount(config.search.trials, 'trial')}{limit}: {amount(baselines, 'baseline')}, {tuned} "
        "with CLIPFit's own parameters that try learning rates and λ (how firmly text features are "
        f"held at CLIP's), {searched} that choose the parameters to tune as well"
    ]
    parts += [f"plus {peer}" for peer in _peers(config.search)]
    most = len(possible_variants(config, protocol.configured_strength(config)))
    if most:
        parts.append(
            f"plus up to {amount(most, 'trial')} of baselines with another head (what turns "
            "features into classes) or strength (the share of the tuned change that is kept)"
        )
    return "; ".join(parts)


def _peers(search: SearchConfig) -> Sequence[str]:
    """Return how many trials each method other than CLIPFit has."""
    searched = search.peer_arms
    peers = []
    for label in search.peers:
        trials = search.peer_trials if label in searched else 1
        peers.append(f"{amount(trials, 'trial')} of {TITLES.get(label, label)}")
    return peers


def _plan_of_ablation(study: Study, ablation: AblationConfig, *, validates: bool) -> str:
    from study.search.ablation_search import rate_grids  # as above

    sizes = [grid.size for grid in rate_grids(study).values()]
    rates = amount(max(sizes), "learning rate")
    if isinstance(ablation.rates, dict):
        rates = f"{amount(max(sizes), 'combination')} of learning rates"
    trials = ""
    if validates:
        trials = f"; {amount(sum(sizes), 'trial')} to choose their rates"
        if ablation.extend:
            trials += ", more where the best rate is the lowest or the highest"
    return (
        f"an ablation (design {ablation.design}): {amount(len(sizes), 'cell')} that tune different "
        f"parts of a subset, with {rates} each{trials}"
    )


def print_study_rows(study: Study, console: Console) -> None:
    """Print what a study will work on, a line each, with the word for it in front."""
    console.print(TerminalTable(["", ""], study_rows(study), words=2, lines=False), highlight=False)


def study_rows(study: Study) -> list[tuple[str, str]]:
    """Return what a study will work on, as pairs of a word and what there is of it.

    Raises:
        StudyError: the data or the backbone cannot be read.
    """
    config, protocol, dataset = study.config, study.protocol(), study.dataset()
    targets = [study.target(name) for name in config.data.targets]
    architecture = study.architecture()
    clipfit = count_numbers(architecture, parse("clipfit").resolve(architecture.depths))
    size, depths = architecture.image_size, architecture.depths
    return [
        ("classes", _classes(dataset)),
        *(("images", line) for line in _images(config, protocol, dataset)),
        *(("target", _target(target)) for target in targets),
        ("prompts", _prompts(config.data, dataset)),
        (
            "backbone",
            f"{config.backbone.name}, a model of {format_count(architecture.count_all())} numbers: "
            f"{amount(depths.text, 'layer')} for text, {depths.vision} for images of "
            f"{size} × {size} pixels",
        ),
        (
            "tuned",
            f"{format_count(clipfit)} of these numbers by CLIPFit as published; trials tune these "
            "or others",
        ),
        ("trials", describe_concurrency(config.resources)),
        # Further datasets have their own classes, and the parts of the test are of all.
        *(("chance", line) for line in ([] if targets else _chance(protocol, dataset))),
    ]


def _classes(dataset: Dataset) -> str:
    names = dataset.class_names
    more = ", …" if len(names) > SHOWN else ""
    return f"{len(names)} of {dataset.name}: {', '.join(islice(names, SHOWN))}{more}"


def _images(config: StudyConfig, protocol: Protocol, dataset: Dataset) -> Iterator[str]:
    """Yield how many images there are, and what becomes of them."""
    parts = (("train", dataset.train), ("validation", dataset.val), ("test", dataset.test))
    counts = ", ".join(f"{format_count(len(records))} in {name}" for name, records in parts)
    yield counts + _as_published(dataset)
    if protocol.trains:
        shots = config.data.shots
        drawn = "1 of each class is" if shots == 1 else f"{shots} of each class are"
        rule = ""
        if protocol.validates(config) and protocol.rules:
            held = val_shots_per_class(shots, config.data.val_shots)
            sentence = protocol.rule(config, dataset).sentence
            rule = f", {held} to validate; trials are compared {sentence}"
        yield f"{drawn} drawn to learn from{rule}"


def _target(dataset: Dataset) -> str:
    """Return what there is of a dataset that is tested beside the study's own."""
    return f"{_classes(dataset)}; {format_count(len(dataset.test))} in test{_as_published(dataset)}"


def _as_published(dataset: Dataset) -> str:
    """Return the published numbers of a benchmark dataset, if it has others here."""
    published = differing_counts(dataset)
    if published is None:
        return ""
    classes, train, val, test = map(format_count, published)
    return (
        f" (as published: {train} in train, {val} in validation, {test} in test, of {classes} "
        "classes)"
    )


def _prompts(data: DataConfig, dataset: Dataset) -> str:
    templates = configured_templates(dataset, data)
    made = [own[0] for own in prompts(dataset.class_names[:2], templates)]
    more = f", and {len(templates) - 1} more of each class" if len(templates) > 1 else ""
    return ", ".join(f"“{prompt}”" for prompt in made) + more


def describe_concurrency(resources: ResourcesConfig) -> str:
    """Return how many trials run at once, and on what, as far as is known before Ray starts."""
    each = amount(resources.cpus_per_trial, "CPU core")
    if resources.gpus_per_trial:
        each += f" and {amount(resources.gpus_per_trial, 'GPU')}"
    here = count_slots(resources)
    # The check has refused what fits nowhere.
    if not here or joins_cluster():
        most = resources.max_concurrent
        if most is None:
            return f"as many at once as the cluster has room for, each on {each}"
        return f"up to {most} at once, each on {each}"
    gpus, unused = list_gpus(), ""
    if gpus and not resources.gpus_per_trial:
        unused = f"; the GPU ({gpus[0]}) is not used: resources.gpus_per_trial=1 uses it"
    return f"{here} at once, each on {each} of {count_cores()}{unused}"


def count_slots(resources: ResourcesConfig) -> int:
    """Return how many trials run at once on this machine, if no cluster is joined."""
    room = [
        (count_cores(), resources.cpus_per_trial),
        (len(list_gpus()), resources.gpus_per_trial),
    ]
    most = int(min(have / needed for have, needed in room if needed))
    return most if resources.max_concurrent is None else min(most, resources.max_concurrent)


def count_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chance(protocol: Protocol, dataset: Dataset) -> Iterator[str]:
    """Yield what guessing would score on test, unless a part of it has no image."""
    tested = {record.label for record in dataset.test}
    names = {part: tested.intersection(own) for part, own in protocol.scored(dataset).items()}
    if all(names.values()):
        one_of_each = Counter((part, str(n), str(n)) for part, own in names.items() for n in own)
        score = balanced_chance(one_of_each, protocol)
        metric = f"balanced {protocol.metric} on test, in which every class counts alike"
        if protocol.class_averaged:
            metric = f"{protocol.metric} on test"
        yield f"guessing would score {percent(score)} % ({metric})"
