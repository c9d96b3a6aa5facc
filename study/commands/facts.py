"""The facts that a study prints before it runs: what it works on, and how many trials at once."""

from collections import Counter
from collections.abc import Iterator

from study.commands.check_result import Fact
from study.config.schema import ResourcesConfig
from study.data.prompts import prompts
from study.data.records import SPLITS, Dataset
from study.data.shots import ALL, val_shots_per_class
from study.method.device import list_gpus
from study.method.parameters import count_parameters
from study.method.subsets import parse
from study.method.training_options import are_unequal
from study.report.formatting import format_count
from study.report.setting_descriptions import shots_in_words, unequal_in_words
from study.report.terminal import amount
from study.search.cluster import count_cores, count_slots, joins_cluster
from study.trial.prepare import configured_templates
from study.trial.study import Study


def study_facts(study: Study) -> Iterator[Fact]:
    """Yield what a study will work on.

    Raises:
        StudyError: the data or the backbone cannot be read.
    """
    config, dataset, architecture = study.config, study.dataset, study.architecture
    train, val, test = (format_count(len(getattr(dataset, split))) for split in SPLITS)
    yield Fact("classes", _classes(dataset))
    yield Fact("images", f"{train} in train, {val} in validation, {test} in test")
    if study.protocol.trains:
        yield Fact("images", _drawn(study))
        sizes = Counter(record.label for record in dataset.train).values()
        unequal = unequal_in_words(config, unequal=are_unequal(sizes))
        if unequal:
            yield Fact("images", unequal)
    for target in study.targets():
        yield Fact("target", f"{_classes(target)}; {format_count(len(target.test))} in test")
    templates = configured_templates(dataset, config.data)
    texts = [f"“{texts[0]}”" for texts in prompts(dataset.class_names[:2], templates)]
    more = f", and {len(templates) - 1} more of each class" if len(templates) > 1 else ""
    yield Fact("prompts", ", ".join(texts) + more)
    depths, size = architecture.depths, architecture.image_size
    tuned = count_parameters(architecture, parse("clipfit").resolve(depths))
    yield Fact(
        "backbone",
        f"{config.backbone.name}: {amount(depths.text, 'layer')} for text, {depths.vision} for "
        f"images of {size} × {size} pixels; {format_count(architecture.count_all())} parameters, "
        f"of which CLIPFit as published tunes {format_count(tuned)}",
    )
    yield Fact("trials", describe_concurrency(config.resources))


def _classes(dataset: Dataset) -> str:
    names = dataset.class_names
    more = ", …" if len(names) > 3 else ""
    return f"{len(names)} of {dataset.name}: {', '.join(names[:3])}{more}"


def _drawn(study: Study) -> str:
    """Return how many images are learned from, and how trials are compared."""
    config, protocol, data = study.config, study.protocol, study.config.data
    text = f"{shots_in_words(data)} to learn from"
    if protocol.validates(config) and protocol.rules:
        if data.shots != ALL:
            text += f", {val_shots_per_class(data.shots, data.val_shots)} to validate"
        text += f"; trials are compared {protocol.rule(config, study.dataset).sentence}"
    return text


def describe_concurrency(resources: ResourcesConfig) -> str:
    """Return how many trials run at once, and on what, as far as is known before Ray starts."""
    each = f"each on {amount(resources.cpus_per_trial, 'CPU core')}"
    if resources.gpus_per_trial:
        each += f" and {amount(resources.gpus_per_trial, 'GPU')}"
    if joins_cluster():
        most = resources.max_concurrent
        return f"up to {most or 'as many as the cluster has room for'} at once, {each}"
    text = f"{count_slots(resources)} at once, {each} of {count_cores()}"
    gpus = list_gpus()
    if gpus and not resources.gpus_per_trial:
        text += f"; the GPU ({gpus[0]}) is not used; set resources.gpus_per_trial=1 to use it"
    return text
