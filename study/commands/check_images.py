"""A look at the images of a study before it starts: what cannot be read, and what is doubtful."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.hub import PREPROCESSING, Source
from study.data.datasets import PACKAGED
from study.data.images.rgb import HIGHEST, dark_images
from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.readers.benchmarks import download_note
from study.data.readers.published import WITHOUT_LISTS, differing_counts
from study.data.records import Dataset, ImageSource, OnCorrupt, keyed_order, listed, result_names
from study.data.survey import survey
from study.errors import DataError, Fault
from study.method.recipe import UNEQUAL
from study.report.terminal_table import amount
from study.report.visible_text import visible_text
from study.trial.study import Study

SAMPLE = 64
"""How many images of a dataset are decoded where not all are."""
AT_ONCE = 512
"""How many images are handed to the threads at a time, since a million would fill the memory."""
EXAMPLES = 3
"""The largest number of examples in a warning."""


Pixels = Mapping[str, Mapping[str, bytes]]
"""A hash of the pixels of each image that can be decoded, by dataset and path.

A dataset is left out unless all its images were decoded."""


class Decoded(NamedTuple):
    """The result of decoding an image."""

    fault: str = ""
    """Why it cannot be read; empty if it can."""
    highest: int = 0
    """Its highest value, if it has 16 bits."""
    digest: bytes = b""
    """A hash of its pixels, equal for equal pixels alone."""


@dataclass(frozen=True)
class ImageCheck:
    """What decoding images of a study's datasets has found."""

    described: str
    """How many images were decoded."""
    faults: Sequence[Fault]
    warnings: Sequence[str]
    pixels: Pixels
    seconds: float
    """The mean time of decoding an image."""


def decode_images(study: Study, *, every: bool) -> ImageCheck:
    """Decode images of a study's datasets, under a bar on the error output.

    Args:
        study: the study.
        every: whether to decode all images, instead of `SAMPLE` of each dataset.
    """
    tried, unreadable, warnings = 0, list[str](), list[str]()
    pixels: dict[str, dict[str, bytes]] = {}
    began = time.monotonic()
    for dataset in (study.dataset, *study.targets()):
        paths = list(dict.fromkeys(record.path for record in dataset.records))
        if not every:
            paths = keyed_order(paths, "a look at the images")[:SAMPLE]
        images = dict(zip(paths, _decode_all(dataset, paths), strict=True))
        tried += len(images)
        unreadable += [image.fault for image in images.values() if image.fault]
        if images.keys() == {record.path for record in dataset.records}:
            whole = {path: image.digest for path, image in images.items() if not image.fault}
            pixels[dataset.name] = whole
        dark = dark_images(max((image.highest for image in images.values()), default=0))
        if dark:
            warnings.append(f"{dataset.name}: {dark}")
    seconds = (time.monotonic() - began) / max(1, tried)
    text = f"a sample of {amount(tried, 'image')} (--images decodes all)"
    if every:
        text = f"all {amount(tried, 'image')}"
    faults = []
    if unreadable:
        sentence = f"{len(unreadable)} of {tried} images cannot be read: {listed(unreadable)}"
        if study.config.data.on_corrupt == "skip":
            warnings.append(f"{sentence}; the study leaves them out")
        else:
            message = f"{sentence}; data.on_corrupt=skip leaves such images out"
            faults.append(
                Fault("data", message if every else f"{message}; --check --images tries all")
            )
    return ImageCheck(text, faults, warnings, pixels, seconds)


def _decode_all(dataset: Dataset, paths: Sequence[str]) -> list[Decoded]:
    """Return the result of `_decode` of each image."""
    console = Console(stderr=True)
    decode = partial(_decode, dataset.source)
    with ThreadPoolExecutor() as pool:
        parts = (
            pool.map(decode, paths[start : start + AT_ONCE])
            for start in range(0, len(paths), AT_ONCE)
        )
        return list(
            track(
                chain.from_iterable(parts),
                f"decoding {dataset.name}",
                len(paths),
                console=console,
                transient=True,
                disable=not console.is_terminal,  # rich would write an empty line
            )
        )


def _decode(source: ImageSource, path: str) -> Decoded:
    try:
        image = source.open_image(path)
    except (DataError, OSError) as error:
        return Decoded(str(error))
    shape = f"{image.width} {image.height} ".encode()
    digest = hashlib.blake2b(shape + image.tobytes(), digest_size=16).digest()
    return Decoded("", int(image.info.get(HIGHEST, 0)), digest)


def find_warnings(studies: Sequence[Study], pixels: Pixels | None = None) -> list[str]:
    """Return warnings about the data and backbones of studies, each once.

    Args:
        studies: the studies, whose datasets and checkpoints can be read.
        pixels: what is known of the datasets' pixels.
    """
    warnings: list[str] = []
    surveyed = set()
    for study in studies:
        data = study.config.data
        warnings += _backbone_warnings(study)
        for dataset in (study.dataset, *study.targets()):
            key = (dataset.name, data.root, data.targets_root)
            if dataset.name not in PACKAGED and key not in surveyed:
                surveyed.add(key)
                known = (pixels or {}).get(dataset.name)
                warnings += dataset_warnings(dataset, data.on_corrupt, known)
            warnings += _test_warnings(study, dataset)
    return list(dict.fromkeys(warnings))


def _backbone_warnings(study: Study) -> Iterator[str]:
    data, backbone, architecture = study.config.data, study.config.backbone, study.architecture
    unlike = [name for name in (data.dataset, *data.targets) if name not in PACKAGED]
    if backbone.name == EMBEDDED and unlike:
        yield (
            "the embedded backbone has seen printed characters and nothing else, so scores on "
            f"{listed(unlike)} mean little; photographs need a CLIP that has seen them, such as "
            "backbone.name=openai/clip-vit-base-patch32"
        )
    source = Source(backbone_path(backbone.name), backbone.revision)
    if not (architecture.open_clip or source.find(*PREPROCESSING)):
        model = "OpenAI's CLIP" if architecture.family == "clip" else "Google's SigLIP"
        yield (
            f"the backbone {backbone.name} has no preprocessor_config.json: its images are "
            f"prepared as for {model}, with the same means and deviations of the colours"
        )


def _test_warnings(study: Study, dataset: Dataset) -> Iterator[str]:
    """Yield warnings about the test images of a dataset of a study."""
    names = result_names(dataset.class_names)
    sizes = Counter(names[image.label] for image in dataset.test).most_common()
    if sizes and sizes[0][1] > UNEQUAL * sizes[-1][1] and not study.protocol.class_averaged:
        (largest, most), (smallest, least) = sizes[0], sizes[-1]
        yield (
            f"{dataset.name}: the test classes differ in size, from {least} images "
            f"({smallest}) to {most} ({largest}), and the metric is accuracy, which large "
            "classes decide; look at the balanced score, in which every class counts alike"
        )
    tested = {name for name, _ in sizes}
    untested = [name for name in names if name not in tested]
    if untested:
        yield (
            f"{dataset.name}: no test image is of {listed(untested)} ({len(untested)} of "
            f"{len(names)} classes), so no score shows how well they are recognized"
        )


def dataset_warnings(
    dataset: Dataset, on_corrupt: OnCorrupt = "fail", pixels: Mapping[str, bytes] | None = None
) -> list[str]:
    """Return warnings about a dataset's images, each with a number and a few examples.

    Args:
        dataset: the dataset.
        on_corrupt: what the study does about images that it cannot read.
        pixels: see `study.data.survey.survey`.
    """
    found, lines = survey(dataset, pixels), []
    source = dataset.source
    is_other = dataset.name in WITHOUT_LISTS and differing_counts(dataset) is not None
    if is_other and isinstance(source, FolderSource):
        lines.append(
            "its numbers of images are not those published: was the whole archive unpacked? "
            f"{download_note(dataset.name, source.root)}"
        )
    if found.unread:
        lines.append(
            f"{amount(len(found.unread), 'file')} not read ({_few(found.unread)}): images are read "
            f"from class folders alone, if they end in {' '.join(sorted(IMAGE_SUFFIXES))}; convert "
            "others, such as HEIC and AVIF"
        )
    if found.absent:
        consequence = "the study ends at the first that it reads; data.on_corrupt=skip skips them"
        if on_corrupt == "skip":
            consequence = "the study leaves them out (data.on_corrupt=skip)"
        lines.append(
            f"{len(found.absent)} of {len(dataset.records)} listed images are not there, or are "
            f"led out of the dataset's folder by symbolic links ({_few(found.absent)}): "
            f"{consequence}"
        )
    for groups, where in (
        (found.in_two_classes, "in two classes, and no model can be right about both"),
        (found.in_two_splits, "among the test images and among those to learn from"),
    ):
        if groups:
            examples = [" = ".join(group) for group in groups]
            lines.append(f"{amount(len(groups), 'image')} found {where} ({_few(examples)})")
    return [f"{dataset.name}: {line}" for line in lines]


def format_suffixes(files: Counter[str]) -> str:
    """Return the most frequent suffixes of files, each with the number of its files."""
    return _few(f"{suffix or 'no suffix'} {number}" for suffix, number in files.most_common())


def _few(examples: Iterable[str]) -> str:
    """Return the first few examples, and the number of the others."""
    # Names of files that are not read need not be text, and may hold what looks like a message.
    texts = [visible_text(text).replace("\n", "\\n") for text in examples]
    more = f" and {len(texts) - EXAMPLES} more" if len(texts) > EXAMPLES else ""
    return ", ".join(texts[:EXAMPLES]) + more
