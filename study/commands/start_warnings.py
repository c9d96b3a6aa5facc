"""Warnings before a study starts: settings and data that are allowed, but may not be intended."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from rich.console import Console

from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.hub import PREPROCESSING, Source
from study.config.schema import BackboneConfig
from study.data.datasets import PACKAGED
from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.readers.benchmarks import download_note
from study.data.readers.published import WITHOUT_LISTS, absent_classes, differing_counts
from study.data.records import Dataset, OnCorrupt, listed, result_names
from study.data.survey import survey
from study.method.recipe import UNEQUAL
from study.process.terminal_table import print_sentences
from study.process.visible_text import visible_text
from study.report.sentences import sentences
from study.search.machine import joins_cluster
from study.storage.study_folder import StudyFolder
from study.storage.study_folder import studies as studies_in
from study.trial.study import Study

EXAMPLES = 3
"""The largest number of examples in a warning."""


Pixels = Mapping[str, Mapping[str, bytes]]
"""A hash of the pixels of each image that can be decoded, by dataset and path.

A dataset is left out unless all its images were decoded."""


def print_warnings(
    studies: Iterable[Study], console: Console, pixels: Pixels | None = None
) -> None:
    """Print warnings about the data and backbones of studies; each is printed once.

    Args:
        studies: the studies, whose datasets and checkpoints can be read.
        console: where they are printed.
        pixels: what is known of the datasets' pixels.
    """
    studies = list(studies)
    last_of_backbone = {study.config.backbone: study for study in studies}
    lines = sentences(
        "commands/start_warnings",
        studies=studies,
        foreign=_foreign_datasets(studies),
        backbones={name: study.architecture for name, study in last_of_backbone.items()},
        has_preprocessing=_has_preprocessing,
        image_warnings=_image_warnings(studies, pixels or {}),
        datasets={study.dataset.name: study.dataset for study in studies}.values(),
        count_groups=lambda dataset: len({image.group for image in dataset.test if image.group}),
        class_sizes=_class_sizes,
        running_beside=_running_beside,
        joins_cluster=joins_cluster,
        listed=listed,
        UNEQUAL=UNEQUAL,
    )
    for study in studies:
        lines += filter(None, map(_untested_classes, [study.dataset, *study.targets()]))
    for line in dict.fromkeys(lines):
        print_sentences(console, line, "yellow")


def _foreign_datasets(studies: Iterable[Study]) -> dict[str, None]:
    """Return the datasets that the embedded backbone is not made for, where a study has it."""
    foreign: dict[str, None] = {}
    for study in studies:
        data = study.config.data
        if study.config.backbone.name == EMBEDDED:
            foreign |= dict.fromkeys((data.dataset, *data.targets))
    return {name: None for name in foreign if name not in PACKAGED}


def _has_preprocessing(backbone: BackboneConfig) -> bool:
    """Return whether a checkpoint says how images are prepared for it."""
    return bool(Source(backbone_path(backbone.name), backbone.revision).find(*PREPROCESSING))


def _class_sizes(dataset: Dataset) -> list[tuple[str, int]]:
    """Return the classes of a dataset's test images, and how many each has, the largest first."""
    names = result_names(dataset.class_names)
    return Counter(names[image.label] for image in dataset.test).most_common()


def _untested_classes(dataset: Dataset) -> str | None:
    """Return a warning that some classes have no test image; None if all have some."""
    tested = {image.label for image in dataset.test}
    every = enumerate(result_names(dataset.class_names))
    names = [name for label, name in every if label not in tested]
    if not names:
        return None
    return (
        f"{dataset.name}: no test image is of {listed(names)} ({len(names)} of "
        f"{len(dataset.class_names)} classes), so no score shows how well they are recognized"
    )


def _running_beside(folder: StudyFolder) -> list[str]:
    """Return the other studies of the same storage that run."""
    others = [other for other in studies_in(folder.path.parent) if other.name != folder.name]
    return [other.name for other in others if other.has_driver()]


def _image_warnings(studies: Iterable[Study], pixels: Pixels) -> Iterator[str]:
    """Yield warnings about the images of the studies' datasets, each of which is checked once."""
    checked = set()
    for study in studies:
        data = study.config.data
        for name in (data.dataset, *data.targets):
            is_target = name != data.dataset
            root = study.target_root(name) if is_target else data.root
            if name in PACKAGED or (name, root) in checked:
                continue
            checked.add((name, root))
            dataset = study.target(name) if is_target else study.dataset
            yield from dataset_warnings(dataset, data.on_corrupt, pixels=pixels.get(name))


def dataset_warnings(
    dataset: Dataset,
    on_corrupt: OnCorrupt = "fail",
    pixels: Mapping[str, bytes] | None = None,
) -> list[str]:
    """Return warnings about a dataset's images, each with a number and a few examples.

    Args:
        dataset: the dataset.
        on_corrupt: what the study does about images that it cannot read.
        pixels: see `study.data.survey.survey`.
    """
    lines = sentences(
        "commands/dataset_warnings",
        surveyed=survey(dataset, pixels),
        pixels=pixels,
        on_corrupt=on_corrupt,
        suffixes=IMAGE_SUFFIXES,
        few=_few,
        format_suffixes=format_suffixes,
        dataset=dataset,
        lists_nothing=dataset.name in WITHOUT_LISTS and isinstance(dataset.source, FolderSource),
        absent_classes=absent_classes,
        differing_counts=differing_counts,
        download_note=download_note,
    )
    return [f"{dataset.name}: {line}" for line in lines]


def format_suffixes(files: Counter[str]) -> str:
    """Return the most frequent suffixes of files, each with the number of its files."""
    return _few(f"{suffix or 'no suffix'} {number}" for suffix, number in files.most_common())


def _few(examples: Iterable[str], between: str = ", ") -> str:
    """Return the first few examples, and the number of the others."""
    # Names of files that are not read need not be text, and may hold what looks like a message.
    texts = [visible_text(text).replace("\n", "\\n") for text in examples]
    line = between.join(texts[:EXAMPLES])
    if len(texts) > EXAMPLES:
        line += f" and {len(texts) - EXAMPLES} more"
    return line
