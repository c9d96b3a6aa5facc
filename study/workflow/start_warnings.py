"""Warnings before a study starts: settings and data that are allowed, but may not be intended."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console

from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.hub import find_preprocessing
from study.data.datasets import PACKAGED
from study.data.ignored_files import Unread
from study.data.images.near_duplicates import PixelHashes, find_near_duplicates
from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.readers.benchmarks import download_note
from study.data.readers.published import WITHOUT_LISTS, absent_classes, differing_counts
from study.data.records import Dataset, OnCorrupt, listed
from study.data.splits import has_groups
from study.data.survey import WITHIN, survey
from study.process.terminal_table import print_sentences
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
        if not find_preprocessing(backbone_path(backbone.name), backbone.revision):
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
    surveyed = survey(dataset, seconds, pixels)
    noun = "file" if pixels is None else "image"
    total = len(dataset.train) + len(dataset.val) + len(dataset.test)
    lines = [*_class_warnings(dataset), *_unread_warnings(surveyed.unread)]
    if surveyed.absent:
        consequence = (
            "the study ends at the first that it reads, and the test reads all test images; "
            "data.on_corrupt=skip leaves them out"
        )
        if on_corrupt == "skip":
            consequence = "the study leaves them out (data.on_corrupt=skip)"
        lines.append(
            f"{len(surveyed.absent)} of {surveyed.looked} listed images are not there, or are "
            f"led out of the dataset's folder by symbolic links ({_few(surveyed.absent)}): "
            f"{consequence}"
        )
    if surveyed.in_two_classes:
        groups = [_few(paths, " = ") for paths in surveyed.in_two_classes]
        lines.append(
            f"{_counted(len(groups), noun)} in two classes ({_few(groups)}): no "
            "model can be right about both"
        )
    if surveyed.in_two_splits:
        groups = [_few(paths, " = ") for paths in surveyed.in_two_splits]
        lines.append(
            f"{_counted(len(groups), noun)} among the test images and among those to learn "
            f"from ({_few(groups)}): test scores are too high by them"
        )
    if pixels is not None and not has_groups(dataset.train):
        lines += _near_duplicate_warnings(dataset, pixels)
    if surveyed.looked < total or not surveyed.compared:
        extent = "all" if surveyed.compared else "not all"
        lines.append(
            f"{surveyed.looked} of {total} images were looked at in {seconds:g} s, and "
            f"{extent} of these compared; others may have such faults too"
        )
    return [f"{dataset.name}: {line}" for line in lines]


def _near_duplicate_warnings(dataset: Dataset, pixels: Mapping[str, PixelHashes]) -> Iterator[str]:
    """Yield a warning of test images that are nearly the same as images to learn from."""
    similar, left_out = find_near_duplicates(dataset, pixels)
    if similar:
        examples = _few(map(" ~ ".join, similar.items()))
        yield (
            f"{_counted(len(similar), 'test image')} nearly the same as an image to learn from "
            f"({examples}): test scores are too high by copies; data.groups or a column 'group' "
            "keeps images that belong together on one side"
        )
    if left_out:
        yield f"there was no time to look for copies of {left_out} test images in other sizes"


def _class_warnings(dataset: Dataset) -> Iterator[str]:
    """Yield what seems to be missing of ImageNet or a shift of it, whose images no file lists."""
    if dataset.name not in WITHOUT_LISTS or not isinstance(dataset.source, FolderSource):
        return
    absent = absent_classes(dataset.name, dataset)
    if absent:
        note = download_note(dataset.name, dataset.source.root)
        yield f"class folders are missing or empty ({_few(absent)}). {note}"
    elif differing_counts(dataset) is not None:
        yield "its numbers of images are not those published: was the whole archive unpacked?"


def _unread_warnings(unread: Unread) -> Iterator[str]:
    """Yield a warning for each kind of files and folders that are not read."""
    if unread.suffixes:
        yield (
            f"{_counted(unread.suffixes.total(), 'file')} in class folders and not read "
            f"({format_suffixes(unread.suffixes)}): only {' '.join(sorted(IMAGE_SUFFIXES))} are "
            "read; "
            "convert images of other formats, such as HEIC and AVIF, first"
        )
    if unread.deeper:
        yield (
            f"{_counted(len(unread.deeper), 'image')} in a folder of a class folder and not read "
            f"({_few(unread.deeper)}): only images in the class folder itself are read"
        )
    if unread.loose:
        yield (
            f"{_counted(len(unread.loose), 'image')} beside class folders and not read "
            f"({_few(unread.loose)}): only images in class folders are read"
        )
    if unread.hidden:
        yield (
            f"{_counted(len(unread.hidden), 'hidden folder')} not read, though there are images "
            f"in {_pronoun(unread.hidden)} ({_few(unread.hidden)}): a folder of a class has no dot "
            "at the beginning of its name"
        )
    if unread.beside:
        yield (
            f"{_counted(len(unread.beside), 'folder')} beside those of the splits and not read, "
            f"though there are images in {_pronoun(unread.beside)} ({_few(unread.beside)})"
        )


def _pronoun(things: Sequence[str]) -> str:
    if len(things) == 1:
        return "it"
    return "them"


def _counted(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun} is"
    return f"{number} {noun}s are"


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
