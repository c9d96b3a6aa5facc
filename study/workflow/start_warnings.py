"""Warnings before a study starts, of what is allowed and may not be meant."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console

from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.hub import lacks_preprocessing
from study.data.datasets import PACKAGED
from study.data.ignored_files import Unread
from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.readers.benchmarks import download_note
from study.data.readers.published import WITHOUT_LISTS, absent_classes, differing_counts
from study.data.records import Dataset, OnCorrupt, listed
from study.data.survey import WITHIN, survey
from study.process.terminal_table import print_sentences
from study.trial.study import Study

EXAMPLES = 3
"""The largest number of examples in a warning."""
UNEQUAL = 2
"""How many times as many test images as another a class may have without a warning."""


Pixels = Mapping[str, Mapping[str, bytes]]
"""A hash of the pixels of each image that can be decoded, by path, by dataset.

Datasets of which not all images were decoded are left out."""


def print_warnings(
    studies: Iterable[Study], console: Console, pixels: Pixels | None = None
) -> None:
    """Print warnings about what some studies would run on and with; each is printed once.

    Args:
        studies: the studies, whose datasets and checkpoints can be read.
        console: where they are printed.
        pixels: what is known of the datasets' pixels.
    """
    studies = list(studies)
    lines = [*_unseen(studies), *_assumed(studies)]
    lines += _of_images(studies, pixels or {})
    lines += _unequal(studies)
    for line in dict.fromkeys(lines):
        print_sentences(console, line, "yellow")


def _unseen(studies: Iterable[Study]) -> Iterator[str]:
    """Yield a warning if the embedded backbone meets datasets that it is not made for."""
    foreign = dict.fromkeys(
        name
        for config in (study.config for study in studies)
        if config.backbone.name == EMBEDDED
        for name in (config.data.dataset, *config.data.targets)
        if name not in PACKAGED
    )
    if foreign:
        yield (
            "the embedded backbone has seen printed characters and nothing else, so scores on "
            f"{listed(foreign)} mean little; photographs need a CLIP that has seen them, such as "
            "backbone.name=openai/clip-vit-base-patch32"
        )


def _assumed(studies: Iterable[Study]) -> Iterator[str]:
    """Yield a warning for each backbone that does not say how images are prepared for it."""
    for backbone, study in {study.config.backbone: study for study in studies}.items():
        architecture = study.architecture()
        if not architecture.open_clip and lacks_preprocessing(
            backbone_path(backbone.name), backbone.revision
        ):
            first = "OpenAI's CLIP" if architecture.family == "clip" else "Google's SigLIP"
            yield (
                f"the backbone {backbone.name} has no preprocessor_config.json: its images are "
                f"prepared as for {first}, with the same means and deviations of the colours"
            )


def _unequal(studies: Iterable[Study]) -> Iterator[str]:
    """Yield a warning for each dataset whose test classes differ in size where accuracy counts."""
    for study in studies:
        if study.protocol().class_averaged:
            continue
        data = study.config.data
        tested = [study.dataset(), *(study.target(name) for name in data.targets)]
        for dataset in tested:
            sizes = Counter(dataset.class_names[record.label] for record in dataset.test)
            if not sizes:
                continue
            ordered = sizes.most_common()
            (largest, most), (smallest, fewest) = ordered[0], ordered[-1]
            if most > UNEQUAL * fewest:
                yield (
                    f"{dataset.name}: the test classes differ in size, from {fewest} images "
                    f"({smallest}) to {most} ({largest}), and the metric is accuracy, which large "
                    "classes decide; look at the balanced score, in which every class counts alike"
                )


def _of_images(studies: Iterable[Study], pixels: Pixels) -> Iterator[str]:
    """Yield warnings about the images of the studies' datasets, each of which is seen once."""
    looked: set[object] = set()
    for study in studies:
        data = study.config.data
        for name in (data.dataset, *data.targets):
            root = data.root if name == data.dataset else study.targets_root
            if name not in PACKAGED and (name, root) not in looked:
                looked.add((name, root))
                is_own = name == data.dataset
                dataset = study.dataset() if is_own else study.target(name)
                yield from dataset_warnings(dataset, data.on_corrupt, pixels=pixels.get(name))


def dataset_warnings(
    dataset: Dataset,
    on_corrupt: OnCorrupt = "fail",
    seconds: float = WITHIN,
    pixels: Mapping[str, bytes] | None = None,
) -> list[str]:
    """Return warnings about a dataset's images, each with a number and a few examples.

    Args:
        dataset: the dataset.
        on_corrupt: what the study does about images that it cannot read.
        seconds: how long the look at the images may take.
        pixels: see `study.data.survey.survey`.
    """
    found, name = survey(dataset, seconds, pixels), dataset.name
    what = "file" if pixels is None else "image"
    total = len(dataset.train) + len(dataset.val) + len(dataset.test)
    consequence = (
        "the study leaves them out (data.on_corrupt=skip)"
        if on_corrupt == "skip"
        else "the study ends at the first that it reads, and the test reads all test images; "
        "data.on_corrupt=skip leaves them out"
    )
    told = [f"{name}: {line}" for line in (*_of_classes(dataset), *_of_unread(found.unread))]
    if found.absent:
        told.append(
            f"{name}: {len(found.absent)} of {found.looked} listed images are not there, or are "
            f"led out of the dataset's folder by symbolic links ({_few(found.absent)}): "
            f"{consequence}"
        )
    if same := found.in_two_classes:
        told.append(
            f"{name}: {_counted(len(same), what)} in two classes ({_few(map(_equal, same))}): no "
            "model can be right about both"
        )
    if same := found.in_two_splits:
        told.append(
            f"{name}: {_counted(len(same), what)} among the test images and among those to learn "
            f"from ({_few(map(_equal, same))}): test scores are too high by them"
        )
    if found.looked < total or not found.compared:
        told.append(
            f"{name}: {found.looked} of {total} images were looked at in {seconds:g} s, and "
            f"{'all' if found.compared else 'not all'} of these compared; others may have such "
            "faults too"
        )
    return told


def _of_classes(dataset: Dataset) -> Iterator[str]:
    """Yield what seems to be missing of ImageNet or a shift of it, whose images no file lists."""
    if dataset.name not in WITHOUT_LISTS or not isinstance(dataset.source, FolderSource):
        return
    if absent := absent_classes(dataset.name, dataset):
        note = download_note(dataset.name, dataset.source.root)
        yield f"class folders are missing or empty ({_few(absent)}). {note}"
    elif differing_counts(dataset) is not None:
        yield "its numbers of images are not those published: was the whole archive unpacked?"


def _of_unread(unread: Unread) -> Iterator[str]:
    """Yield what is said of each kind of things that are not read."""
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
            f"in {_it(unread.hidden)} ({_few(unread.hidden)}): a folder of a class has no dot at "
            "the beginning of its name"
        )
    if unread.beside:
        yield (
            f"{_counted(len(unread.beside), 'folder')} beside those of the splits and not read, "
            f"though there are images in {_it(unread.beside)} ({_few(unread.beside)})"
        )


def _it(things: Sequence[str]) -> str:
    return "it" if len(things) == 1 else "them"


def _counted(number: int, what: str) -> str:
    return f"1 {what} is" if number == 1 else f"{number} {what}s are"


def format_suffixes(files: Counter[str]) -> str:
    """Return the most frequent suffixes of files, each with the number of its files."""
    return _few(f"{suffix or 'no suffix'} {number}" for suffix, number in files.most_common())


def _equal(paths: tuple[str, ...]) -> str:
    return _few(paths, " = ")


def _few(examples: Iterable[str], between: str = ", ") -> str:
    """Return the first few examples, and the number of the others."""
    # Names of files that are not read need not be text.
    texts = [text.encode(errors="backslashreplace").decode() for text in examples]
    rest = f" and {len(texts) - EXAMPLES} more" if len(texts) > EXAMPLES else ""
    return between.join(texts[:EXAMPLES]) + rest
