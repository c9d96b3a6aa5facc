"""The texts that a study prints before it runs: what it is, its plan, and what it works on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from study.commands.check_result import Fact, print_facts, print_warnings
from study.commands.concurrency import describe_concurrency
from study.commands.start_warnings import find_warnings
from study.config.labels import TUNED
from study.data.prompts import prompts
from study.data.readers.published import differing_counts
from study.data.records import Dataset
from study.data.shots import ALL, val_shots_per_class
from study.method.parameters import count_numbers
from study.method.peers import PEERS
from study.method.recipe import are_unequal
from study.method.subsets import parse
from study.process.terminal_table import amount
from study.protocols import Protocol
from study.report.formatting import format_count, percent
from study.report.setting_descriptions import unequal_in_words
from study.results.chance import balanced_chance
from study.trial.prepare import configured_templates
from study.trial.study import Study

if TYPE_CHECKING:
    from study.commands.plan import PlannedTrials

TITLES = {TUNED: "CLIPFit's parameters at other rates", "search": "other parameters"}
"""What the trials of a search are, by their labels."""
TITLES |= {method: row.title for method, row in PEERS.items()}


def announce(study: Study, console: Console) -> None:
    """Print what a study is, its plan, what it works on, and warnings."""
    config = study.config
    images = ""
    if study.protocol.trains:
        images = " all labelled images,"
        if config.data.shots != ALL:
            images = f" {amount(config.data.shots, 'shot')} (labelled images of each class),"
    console.print(
        f"{study.folder.name}: {config.protocol} on {config.data.dataset},{images} results in "
        f"{study.folder.path}",
        highlight=False,
    )
    print_facts([*plan_facts(study), *study_facts(study)], console)
    print_warnings(find_warnings([study]), console)


def plan_facts(study: Study) -> Iterator[Fact]:
    """Yield how many trials each step of a new study will run, and of what.

    Raises:
        StudyError: the backbone cannot be read.
    """
    # Ray takes seconds to import, and a check, which prints no plan, does without it.
    from study.commands.plan import plan_trials

    config, plan = study.config, plan_trials(study)
    minutes = config.search.minutes
    if config.ablation and plan.search:
        rates = amount(max(one.trials for one in plan.search), "rate")
        cells = amount(len(plan.search), "cell")
        yield Fact("search", f"{_count(plan.search)}: {cells} at up to {rates} each")
    elif plan.search:
        parts = [amount(sum(one.trials == 1 for one in plan.search), "baseline")]
        for one in plan.search:
            if one.trials > 1:
                parts.append(f"{one.trials} of {TITLES.get(one.label, one.label)}")
        yield Fact("search", f"{_count(plan.search)}: {', '.join(parts)}")
        if minutes is not None:
            limit = amount(minutes, "minute")
            yield Fact("", f"ends after {limit} at the latest; tests come after them")
    noun = "cell" if config.ablation else "configuration"
    seeds = amount(len(study.protocol.shot_seeds(config)), "seed")
    tested = f"{amount(len(plan.test), noun)} with {seeds} each"
    # A rival may be the best configuration as well.
    most = "at most " if plan.search and not config.ablation else ""
    yield Fact("test", f"{most}{_count(plan.test)}: {tested}")
    if plan.final:
        images = config.final.images
        yield Fact("final", f"the best configuration, trained once more (final.images={images})")


def _count(planned: Sequence["PlannedTrials"]) -> str:
    return amount(sum(one.trials for one in planned), "trial")


def study_facts(study: Study) -> Iterator[Fact]:
    """Yield what a study will work on.

    Raises:
        StudyError: the data or the backbone cannot be read.
    """
    config, dataset, architecture = study.config, study.dataset, study.architecture
    yield Fact("classes", _classes(dataset))
    yield Fact(
        "images",
        f"{format_count(len(dataset.train))} in train, {format_count(len(dataset.val))} in "
        f"validation, {format_count(len(dataset.test))} in test{_published(dataset)}",
    )
    if study.protocol.trains:
        yield Fact("images", _drawn(study))
        sizes = Counter(record.label for record in dataset.train).values()
        unequal = unequal_in_words(config, unequal=are_unequal(sizes))
        if unequal:
            yield Fact("images", unequal)
    for target in study.targets():
        tested = f"{format_count(len(target.test))} in test{_published(target)}"
        yield Fact("target", f"{_classes(target)}; {tested}")
    templates = configured_templates(dataset, config.data)
    texts = [f"“{texts[0]}”" for texts in prompts(dataset.class_names[:2], templates)]
    more = f", and {len(templates) - 1} more of each class" if len(templates) > 1 else ""
    yield Fact("prompts", ", ".join(texts) + more)
    depths, size = architecture.depths, architecture.image_size
    yield Fact(
        "backbone",
        f"{config.backbone.name}, a model of {format_count(architecture.count_all())} parameters: "
        f"{amount(depths.text, 'layer')} for text, {depths.vision} for images of {size} × {size} "
        "pixels",
    )
    tuned = count_numbers(architecture, parse("clipfit").resolve(depths))
    yield Fact(
        "tuned",
        f"{format_count(tuned)} of these parameters by CLIPFit as published; trials tune these or "
        "others",
    )
    yield Fact("trials", describe_concurrency(config.resources))
    chance = None if config.data.targets else _find_chance(study.protocol, dataset)
    if chance is not None:
        metric = f"balanced {study.protocol.metric} on test, in which every class counts alike"
        if study.protocol.class_averaged:
            metric = f"{study.protocol.metric} on test"
        yield Fact("chance", f"guessing would score {percent(chance)} % ({metric})")


def _classes(dataset: Dataset) -> str:
    names = dataset.class_names
    more = ", …" if len(names) > 3 else ""
    return f"{len(names)} of {dataset.name}: {', '.join(names[:3])}{more}"


def _published(dataset: Dataset) -> str:
    """Return the published numbers of a benchmark's images where this copy has others."""
    counts = differing_counts(dataset)
    if counts is None:
        return ""
    return (
        f" (as published: {format_count(counts.train)} in train, {format_count(counts.val)} in "
        f"validation, {format_count(counts.test)} in test, of {format_count(counts.classes)} "
        "classes)"
    )


def _drawn(study: Study) -> str:
    """Return how many images are learned from, and how trials are compared."""
    config, protocol = study.config, study.protocol
    shots = config.data.shots
    validates = protocol.validates(config) and protocol.rules
    text = "all are learned from"
    if shots != ALL:
        verb = "is" if shots == 1 else "are"
        text = f"{shots} of each class {verb} drawn to learn from (data.shots=all takes all)"
        if validates:
            text += f", {val_shots_per_class(shots, config.data.val_shots)} to validate"
    if validates:
        text += f"; trials are compared {protocol.rule(config, study.dataset).sentence}"
    return text


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
