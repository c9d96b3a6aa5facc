"""What a study will work on, told before it runs: data, prompts, backbone, trials, chance."""

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from rich.console import Console

from study.config.schema import ResourcesConfig
from study.data.prompts import prompts
from study.data.readers.published import published_otherwise
from study.data.records import Dataset
from study.data.shots import wanted_val_shots
from study.method.device import gpus_here
from study.method.parameters import count_numbers
from study.method.subsets import parse
from study.process.terminal_table import TerminalTable, amount
from study.report.formatting import count, percent
from study.search.machine import joins_cluster
from study.selection.chance import balanced_chance
from study.trial.prepare import templates_of
from study.trial.study import Study

SHOWN = 3
"""How many class names are shown."""


def tell(study: Study, console: Console) -> None:
    """Print what a study will work on, a line each, with the word for it in front."""
    console.print(TerminalTable(["", ""], facts(study), words=2, lines=False), highlight=False)


def facts(study: Study) -> list[tuple[str, str]]:
    """Return what a study will work on, as pairs of a word and what there is of it.

    Raises:
        StudyError: the data or the backbone cannot be read.
    """
    config, dataset, architecture = study.config, study.dataset(), study.architecture()
    clipfit = count_numbers(architecture, parse("clipfit").resolve(architecture.depths))
    size, depths = architecture.image_size, architecture.depths
    return [
        ("classes", _classes(dataset)),
        *(("images", line) for line in _images(study, dataset)),
        *(("target", _target(study.target(name))) for name in config.data.targets),
        ("prompts", _prompts(study, dataset)),
        (
            "backbone",
            f"{config.backbone.name}, a model of {count(architecture.count_all())} numbers: "
            f"{amount(depths.text, 'layer')} for text, {depths.vision} for images of "
            f"{size} × {size} pixels",
        ),
        (
            "tuned",
            f"{count(clipfit)} of these numbers by CLIPFit as published; trials tune these or "
            "others",
        ),
        ("trials", at_once(study)),
        *(("chance", line) for line in _chance(study, dataset)),
    ]


def _classes(dataset: Dataset) -> str:
    names = dataset.class_names
    more = ", …" if len(names) > SHOWN else ""
    return f"{len(names)} of {dataset.name}: {', '.join(islice(names, SHOWN))}{more}"


def _images(study: Study, dataset: Dataset) -> Iterator[str]:
    """Yield how many images there are, and what becomes of them."""
    config, protocol = study.config, study.protocol()
    parts = (("train", dataset.train), ("validation", dataset.val), ("test", dataset.test))
    counts = ", ".join(f"{count(len(records))} in {name}" for name, records in parts)
    yield counts + _as_published(dataset)
    if protocol.trains:
        shots = config.data.shots
        drawn = "1 of each class is" if shots == 1 else f"{shots} of each class are"
        rule = ""
        if protocol.validates(config) and protocol.rules:
            held = wanted_val_shots(shots, config.data.val_shots)
            sentence = protocol.rule(config, dataset).sentence
            rule = f", {held} to validate; trials are compared {sentence}"
        yield f"{drawn} drawn to learn from{rule}"


def _target(dataset: Dataset) -> str:
    """Return what there is of a dataset that is tested beside the study's own."""
    return f"{_classes(dataset)}; {count(len(dataset.test))} in test{_as_published(dataset)}"


def _as_published(dataset: Dataset) -> str:
    """Return the published numbers of a benchmark dataset, if it has others here."""
    published = published_otherwise(dataset)
    if published is None:
        return ""
    classes, train, val, test = map(count, published)
    return (
        f" (as published: {train} in train, {val} in validation, {test} in test, of {classes} "
        "classes)"
    )


def _prompts(study: Study, dataset: Dataset) -> str:
    templates = templates_of(dataset, study.config.data)
    made = [own[0] for own in prompts(dataset.class_names[:2], templates)]
    more = f", and {len(templates) - 1} more of each class" if len(templates) > 1 else ""
    return ", ".join(f"“{prompt}”" for prompt in made) + more


def at_once(study: Study) -> str:
    """Return how many trials run at once, and on what, as far as is known before Ray starts."""
    resources = study.config.resources
    each = amount(resources.cpus_per_trial, "CPU core")
    each += f" and {amount(resources.gpus_per_trial, 'GPU')}" * bool(resources.gpus_per_trial)
    here = slots_here(resources)
    # The check has refused what fits nowhere.
    if not here or joins_cluster():
        most = resources.max_concurrent
        if most is None:
            return f"as many at once as the cluster has room for, each on {each}"
        return f"up to {most} at once, each on {each}"
    gpus, unused = gpus_here(), ""
    if gpus and not resources.gpus_per_trial:
        unused = f"; the GPU ({gpus[0]}) is not used: resources.gpus_per_trial=1 uses it"
    return f"{here} at once, each on {each} of {cores_here()}{unused}"


def slots_here(resources: ResourcesConfig) -> int:
    """Return how many trials run at once on this machine, if no cluster is joined."""
    room = [
        (cores_here(), resources.cpus_per_trial),
        (len(gpus_here()), resources.gpus_per_trial),
    ]
    most = int(min(have / needed for have, needed in room if needed))
    return most if resources.max_concurrent is None else min(most, resources.max_concurrent)


def cores_here() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chance(study: Study, dataset: Dataset) -> Iterator[str]:
    """Yield what guessing would score on test, where the parts of the test are of this dataset."""
    protocol = study.protocol()
    if study.config.data.targets:
        return
    tested = {record.label for record in dataset.test}
    names = {part: tested.intersection(own) for part, own in protocol.scored(dataset).items()}
    if all(names.values()):
        one_of_each = Counter((part, str(n), str(n)) for part, own in names.items() for n in own)
        score = balanced_chance(one_of_each, protocol)
        metric = f"balanced {protocol.metric} on test, in which every class counts alike"
        if protocol.class_averaged:
            metric = f"{protocol.metric} on test"
        yield f"guessing would score {percent(score)} % ({metric})"
