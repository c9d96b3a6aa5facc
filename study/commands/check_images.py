"""A look at the images of a study before it starts: what cannot be read, and what may be wrong."""

from collections.abc import Iterator, Sequence
from multiprocessing.pool import ThreadPool

import numpy as np

from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.hub import PREPROCESSING, Source
from study.commands.check_result import CheckResult, Fact
from study.commands.console import track
from study.data.datasets import PACKAGED
from study.data.file_checks import check_files
from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.readers.benchmarks import download_note
from study.data.readers.published import differing_counts
from study.data.records import Dataset, OnCorrupt, keyed_order, listed, result_names
from study.errors import DataError, Fault, FaultsError
from study.report.terminal import amount
from study.trial.study import Study

SAMPLE = 64
"""How many images of a dataset are decoded where not all are."""
DARK = 32
"""The level, of 255, below which all pixels of all images are nearly black."""


def decode_images(study: Study, *, every: bool) -> CheckResult:
    """Decode images of a study's datasets, under a bar on the error output.

    Args:
        study: the study.
        every: whether to decode all images, instead of `SAMPLE` of each dataset.

    Raises:
        FaultsError: images cannot be read, and the study does not skip such images.
    """
    tried, unreadable, warnings = 0, list[str](), list[str]()
    for dataset in (study.dataset, *study.targets()):
        paths = list(dict.fromkeys(record.path for record in dataset.records))
        if not every:
            paths = keyed_order(paths, "a look at the images")[:SAMPLE]
        images = _decode_all(dataset, paths)
        tried += len(images)
        unreadable += [fault for fault, _ in images if fault]
        levels = [level for fault, level in images if not fault]
        if levels and max(levels) < DARK:
            warnings.append(
                f"{dataset.name}: its images are nearly black: the highest level in "
                f"{amount(len(levels), 'image')} is {max(levels)} of 255; if they have fewer bits "
                "than their files, such as 12 of 16, set data.pixel_range=[0, 4095]"
            )
    text = f"all {amount(tried, 'image')}"
    if not every:
        text = f"a sample of {amount(tried, 'image')} (--images decodes all)"
    if unreadable:
        sentence = f"{len(unreadable)} of {tried} images cannot be read: {listed(unreadable)}"
        if study.config.data.on_corrupt == "skip":
            warnings.append(f"{sentence}; the study leaves them out")
        else:
            message = f"{sentence}; data.on_corrupt=skip leaves such images out"
            raise FaultsError("the study cannot start,", [Fault("data", message)])
    return CheckResult(warnings=warnings, facts=[Fact("decoded", text)])


def _decode_all(dataset: Dataset, paths: Sequence[str]) -> list[tuple[str, int]]:
    """Return why each image cannot be read, or "", and its highest level, from 0 to 255."""

    def decode(path: str) -> tuple[str, int]:
        try:
            image = dataset.source.open_image(path)
        except (DataError, OSError) as error:
            return str(error), 0
        return "", int(np.asarray(image).max())

    with ThreadPool() as pool:
        found = pool.imap(decode, paths, chunksize=8)
        return list(track(found, f"decoding {dataset.name}", len(paths)))


def find_warnings(studies: Sequence[Study]) -> list[str]:
    """Return warnings about the data and backbones of studies, each once.

    Args:
        studies: the studies, whose datasets and checkpoints can be read.
    """
    warnings: list[str] = []
    datasets: dict[object, tuple[Dataset, OnCorrupt]] = {}  # those of a sweep are mostly the same
    for study in studies:
        warnings += _backbone_warnings(study)
        data = study.config.data
        for dataset in (study.dataset, *study.targets()):
            key = (dataset.name, data.root, data.targets_root)
            datasets[key] = dataset, data.on_corrupt
    for dataset, on_corrupt in datasets.values():
        warnings += [f"{dataset.name}: {text}" for text in dataset_warnings(dataset, on_corrupt)]
    return list(dict.fromkeys(warnings))


def _backbone_warnings(study: Study) -> Iterator[str]:
    data, backbone, architecture = study.config.data, study.config.backbone, study.architecture
    unlike = [name for name in (data.dataset, *data.targets) if name not in PACKAGED]
    if backbone.name == EMBEDDED and unlike:
        yield (
            "the embedded backbone was trained on printed characters only, so scores on "
            f"{listed(unlike)} mean little; for photographs, use a CLIP that was trained on them: "
            "backbone.name=openai/clip-vit-base-patch32"
        )
    source = Source(backbone_path(backbone.name), backbone.revision)
    if not (architecture.open_clip or source.find(*PREPROCESSING)):
        model = "OpenAI's CLIP" if architecture.family == "clip" else "Google's SigLIP"
        yield (
            f"the backbone {backbone.name} has no preprocessor_config.json: its images are "
            f"normalised with the means and standard deviations of {model}"
        )


def dataset_warnings(dataset: Dataset, on_corrupt: OnCorrupt = "fail") -> Iterator[str]:
    """Yield warnings about a dataset's images, each with a number and a few examples.

    Args:
        dataset: the dataset.
        on_corrupt: what the study does about images that it cannot read.
    """
    found, source, published = check_files(dataset), dataset.source, differing_counts(dataset)
    if published and isinstance(source, FolderSource):
        train, val, test = map(len, (dataset.train, dataset.val, dataset.test))
        yield (
            f"{train} images in train, {val} in validation and {test} in test; the published "
            f"dataset has {published.train}, {published.val} and {published.test}: was the archive "
            f"unpacked completely? {download_note(dataset.name, source.root)}"
        )
    if found.unread:
        yield (
            f"{amount(len(found.unread), 'file')} not read ({listed(found.unread)}): images are "
            f"read from class folders alone, if they end in {' '.join(sorted(IMAGE_SUFFIXES))}; "
            "convert others, such as HEIC and AVIF"
        )
    if found.absent:
        consequence = "the study ends at the first that it reads; data.on_corrupt=skip skips them"
        if on_corrupt == "skip":
            consequence = "the study leaves them out (data.on_corrupt=skip)"
        yield (
            f"{len(found.absent)} of {len(dataset.records)} listed images are not there "
            f"({listed(found.absent)}): {consequence}"
        )
    for groups, where in (
        (found.in_two_classes, "in two classes, so one of the labels must be wrong"),
        (found.in_two_splits, "both among the test images and among the training images"),
    ):
        if groups:
            examples = listed(" = ".join(group) for group in groups)
            yield f"{amount(len(groups), 'image')} found {where} ({examples})"
    names = result_names(dataset.class_names)
    tested = {names[image.label] for image in dataset.test}
    untested = [name for name in names if name not in tested]
    if untested:
        yield (
            f"no test image is of {listed(untested)} ({len(untested)} of {len(names)} classes), so "
            "no score shows how well they are recognized"
        )
