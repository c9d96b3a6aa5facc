"""Warnings before a study starts: settings and data that are allowed, but may not be intended."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from rich.console import Console

from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.hub import PREPROCESSING, Source
from study.data.datasets import PACKAGED
from study.data.images.near_duplicates import PixelHashes, find_near_duplicates
from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.readers.benchmarks import download_note
from study.data.readers.published import WITHOUT_LISTS, absent_classes, differing_counts
from study.data.records import Dataset, OnCorrupt, listed
from study.data.splits import has_groups
from study.data.survey import WITHIN, survey
from study.process.terminal_table import print_sentences
from study.report.sentences import sentences
from study.search.machine import joins_cluster
from study.storage.study_folder import studies as folders_of_studies
from study.trial.study import Study

EXAMPLES = 3
"""The largest number of examples in a warning."""
UNEQUAL = 2
"""The largest ratio of the test images of two classes without a warning."""


Pixels = Mapping[str, Mapping[str, PixelHashes]]
"""The hashes of the pixels of each image that can be decoded, by dataset and path.

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
    lines = _embedded_warnings(studies)
    lines += _preprocessing_warnings(studies)
    lines += _image_warnings(studies, pixels or {})
    lines += _group_warnings(studies)
    lines += _imbalance_warnings(studies)
    lines += _company_warnings(studies)
    for line in dict.fromkeys(lines):
        print_sentences(console, line, "yellow")


def _embedded_warnings(studies: Iterable[Study]) -> list[str]:
    """Return a warning if the embedded backbone meets datasets that it is not made for."""
    foreign: dict[str, None] = {}
    for study in studies:
        if study.config.backbone.name != EMBEDDED:
            continue
        data = study.config.data
        for name in (data.dataset, *data.targets):
            if name not in PACKAGED:
                foreign[name] = None
    if not foreign:
        return []
    return [
        "the embedded backbone has seen printed characters and nothing else, so scores on "
        f"{listed(foreign)} mean little; photographs need a CLIP that has seen them, such as "
        "backbone.name=openai/clip-vit-base-patch32"
    ]


def _preprocessing_warnings(studies: Iterable[Study]) -> Iterator[str]:
    """Yield a warning for each backbone that does not say how images are prepared for it."""
    for backbone, study in {study.config.backbone: study for study in studies}.items():
        architecture = study.architecture
        if architecture.open_clip:
            continue
        source = Source(backbone_path(backbone.name), backbone.revision)
        if not source.find(*PREPROCESSING):
            original = "Google's SigLIP"
            if architecture.family == "clip":
                original = "OpenAI's CLIP"
            yield (
                f"the backbone {backbone.name} has no preprocessor_config.json: its images are "
                f"prepared as for {original}, with the same means and deviations of the colours"
            )


def _group_warnings(studies: Iterable[Study]) -> Iterator[str]:
    """Yield a warning for each dataset with several test images of a group."""
    for dataset in {study.dataset.name: study.dataset for study in studies}.values():
        groups = {record.group for record in dataset.test if record.group}
        if groups and len(groups) < len(dataset.test):
            yield (
                f"{dataset.name}: its {len(dataset.test)} test images are of {len(groups)} groups, "
                "which intervals draw as wholes; only those of single classes, of H and of AUSUC "
                "take each image as independent"
            )


def _imbalance_warnings(studies: Iterable[Study]) -> Iterator[str]:
    """Yield a warning for each dataset whose test classes differ in size where accuracy counts."""
    for study in studies:
        if study.protocol.class_averaged:
            continue
        for dataset in (study.dataset, *study.targets()):
            sizes = Counter(dataset.class_names[record.label] for record in dataset.test)
            if not sizes:
                continue
            ordered = sizes.most_common()
            (largest, most) = ordered[0]
            (smallest, fewest) = ordered[-1]
            if most > UNEQUAL * fewest:
                yield (
                    f"{dataset.name}: the test classes differ in size, from {fewest} images "
                    f"({smallest}) to {most} ({largest}), and the metric is accuracy, which large "
                    "classes decide; look at the balanced score, in which every class counts alike"
                )


def _company_warnings(studies: Iterable[Study]) -> Iterator[str]:
    """Yield a warning for each study that takes all places for trials while others run beside it.

    Where those run is not known, since machines may share the folder.
    """
    for study in studies:
        beside = folders_of_studies(study.folder.path.parent)
        running = [other.name for other in beside if other.has_driver()]
        running = [name for name in running if name != study.folder.name]
        if not running or study.config.resources.max_concurrent is not None:
            continue
        effect = "on this machine, all use all of its CPU cores and take longer"
        if joins_cluster():
            effect = "on this cluster, each keeps its places until its last trials begin"
        yield (
            f"{study.folder.name}: {listed(running)} in the same folder runs, too; if that is "
            f"{effect}; resources.max_concurrent leaves room for others"
        )


def _image_warnings(studies: Iterable[Study], pixels: Pixels) -> Iterator[str]:
    """Yield warnings about the images of the studies' datasets, each of which is checked once."""
    checked = set()
    for study in studies:
        data = study.config.data
        for name in (data.dataset, *data.targets):
            is_target = name != data.dataset
            root = study.targets_root if is_target else data.root
            if name in PACKAGED or (name, root) in checked:
                continue
            checked.add((name, root))
            dataset = study.target(name) if is_target else study.dataset
            yield from dataset_warnings(dataset, data.on_corrupt, pixels=pixels.get(name))


def dataset_warnings(
    dataset: Dataset,
    on_corrupt: OnCorrupt = "fail",
    seconds: float = WITHIN,
    pixels: Mapping[str, PixelHashes] | None = None,
) -> list[str]:
    """Return warnings about a dataset's images, each with a number and a few examples.

    Args:
        dataset: the dataset.
        on_corrupt: what the study does about images that it cannot read.
        seconds: how long the check of the images may take.
        pixels: see `study.data.survey.survey`.
    """
    similar: Mapping[str, str] = {}
    not_compared = 0
    if pixels is not None and not has_groups(dataset.train):
        similar, not_compared = find_near_duplicates(dataset, pixels)
    lines = sentences(
        "workflow/dataset_warnings",
        surveyed=survey(dataset, seconds, pixels),
        pixels=pixels,
        similar=similar,
        not_compared=not_compared,
        total=len(dataset.train) + len(dataset.val) + len(dataset.test),
        seconds=seconds,
        on_corrupt=on_corrupt,
        suffixes=IMAGE_SUFFIXES,
        few=_few,
        format_suffixes=format_suffixes,
        **_find_missing(dataset),
    )
    return [f"{dataset.name}: {line}" for line in lines]


def _find_missing(dataset: Dataset) -> dict[str, object]:
    """Return what seems to be missing of ImageNet or a shift of it, whose images no file lists."""
    missing: dict[str, object] = {"absent_classes": (), "is_incomplete": False}
    if dataset.name in WITHOUT_LISTS and isinstance(dataset.source, FolderSource):
        missing["absent_classes"] = absent_classes(dataset.name, dataset)
        missing["is_incomplete"] = differing_counts(dataset) is not None
        missing["download_note"] = download_note(dataset.name, dataset.source.root)
    return missing


def format_suffixes(files: Counter[str]) -> str:
    """Return the most frequent suffixes of files, each with the number of its files."""
    return _few(f"{suffix or 'no suffix'} {number}" for suffix, number in files.most_common())


def _few(examples: Iterable[str], between: str = ", ") -> str:
    """Return the first few examples, and the number of the others."""
    # Names of files that are not read need not be text.
    texts = [text.encode(errors="backslashreplace").decode() for text in examples]
    line = between.join(texts[:EXAMPLES])
    if len(texts) > EXAMPLES:
        line += f" and {len(texts) - EXAMPLES} more"
    return line
