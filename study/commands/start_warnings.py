"""Warnings before a study starts: settings and data that are allowed, but may not be intended."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized

from study.backbones.architecture import Architecture
from study.backbones.description import EMBEDDED, backbone_path
from study.backbones.hub import PREPROCESSING, Source
from study.config.schema import BackboneConfig
from study.data.datasets import PACKAGED
from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.readers.benchmarks import download_note
from study.data.readers.published import WITHOUT_LISTS, differing_counts
from study.data.records import Dataset, OnCorrupt, listed, result_names
from study.data.survey import survey
from study.method.recipe import UNEQUAL
from study.process.terminal_table import amount
from study.process.visible_text import visible_text
from study.search.machine import joins_cluster
from study.storage.study_folder import studies as studies_in
from study.trial.study import Study

EXAMPLES = 3
"""The largest number of examples in a warning."""

Pixels = Mapping[str, Mapping[str, bytes]]
"""A hash of the pixels of each image that can be decoded, by dataset and path.

A dataset is left out unless all its images were decoded."""


def find_warnings(studies: Sequence[Study], pixels: Pixels | None = None) -> list[str]:
    """Return warnings about the data and backbones of studies, each once.

    Args:
        studies: the studies, whose datasets and checkpoints can be read.
        pixels: what is known of the datasets' pixels.
    """
    warnings = [*_backbone_warnings(studies), *_image_warnings(studies, pixels or {})]
    for study in studies:
        warnings += _test_warnings(study)
        warnings += _warnings_of_studies_beside(study)
    return list(dict.fromkeys(warnings))


def _backbone_warnings(studies: Iterable[Study]) -> Iterator[str]:
    unlike: dict[str, None] = {}
    architectures: dict[BackboneConfig, Architecture] = {}
    for study in studies:
        data, backbone = study.config.data, study.config.backbone
        architectures[backbone] = study.architecture
        if backbone.name == EMBEDDED:
            unlike |= dict.fromkeys((data.dataset, *data.targets))
    unlike = {name: None for name in unlike if name not in PACKAGED}
    if unlike:
        yield (
            "the embedded backbone has seen printed characters and nothing else, so scores on "
            f"{listed(unlike)} mean little; photographs need a CLIP that has seen them, such as "
            "backbone.name=openai/clip-vit-base-patch32"
        )
    for backbone, architecture in architectures.items():
        source = Source(backbone_path(backbone.name), backbone.revision)
        if architecture.open_clip or source.find(*PREPROCESSING):
            continue
        model = "OpenAI's CLIP" if architecture.family == "clip" else "Google's SigLIP"
        yield (
            f"the backbone {backbone.name} has no preprocessor_config.json: its images are "
            f"prepared as for {model}, with the same means and deviations of the colours"
        )


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


def _test_warnings(study: Study) -> Iterator[str]:
    """Yield warnings about the test images of a study."""
    for dataset in (study.dataset, *study.targets()):
        groups = {image.group for image in dataset.test if image.group}
        if 0 < len(groups) < len(dataset.test):
            yield (
                f"{dataset.name}: its {len(dataset.test)} test images are of {len(groups)} "
                "groups, which intervals draw as wholes"
            )
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


def _warnings_of_studies_beside(study: Study) -> Iterator[str]:
    """Yield a warning if other studies of the same storage run, and this one leaves no room."""
    folder = study.folder
    others = [other for other in studies_in(folder.path.parent) if other.name != folder.name]
    running = [other.name for other in others if other.has_driver()]
    if not running or study.config.resources.max_concurrent is not None:
        return
    # Where those run is not known, since machines may share the folder.
    effect = "on this machine, all use all of its CPU cores and take longer"
    if joins_cluster():
        effect = "on this cluster, each keeps its places until its last trials begin"
    yield (
        f"{folder.name}: {listed(running)} in the same folder runs, too; if that is {effect}; "
        "resources.max_concurrent leaves room for others"
    )


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
    surveyed = survey(dataset, pixels)
    lines = []
    source = dataset.source
    is_other = dataset.name in WITHOUT_LISTS and differing_counts(dataset) is not None
    if is_other and isinstance(source, FolderSource):
        lines.append(
            "its numbers of images are not those published: was the whole archive unpacked? "
            f"{download_note(dataset.name, source.root)}"
        )
    if surveyed.unread:
        lines.append(
            f"{_are(surveyed.unread, 'file')} not read ({_few(surveyed.unread)}): images are read "
            f"from class folders alone, if they end in {' '.join(sorted(IMAGE_SUFFIXES))}; convert "
            "others, such as HEIC and AVIF"
        )
    if surveyed.absent:
        consequence = (
            "the study ends at the first that it reads, and the test reads all test images; "
            "data.on_corrupt=skip leaves them out"
        )
        if on_corrupt == "skip":
            consequence = "the study leaves them out (data.on_corrupt=skip)"
        lines.append(
            f"{len(surveyed.absent)} of {len(dataset.records)} listed images are not there, or "
            "are led out of the dataset's folder by symbolic links "
            f"({_few(surveyed.absent)}): {consequence}"
        )
    noun = "file" if pixels is None else "image"
    for groups, place, consequence in (
        (surveyed.in_two_classes, "in two classes", "no model can be right about both"),
        (
            surveyed.in_two_splits,
            "among the test images and among those to learn from",
            "test scores are too high by them",
        ),
    ):
        if groups:
            examples = _few(_few(paths, " = ") for paths in groups)
            lines.append(f"{_are(groups, noun)} {place} ({examples}): {consequence}")
    return [f"{dataset.name}: {line}" for line in lines]


def format_suffixes(files: Counter[str]) -> str:
    """Return the most frequent suffixes of files, each with the number of its files."""
    return _few(f"{suffix or 'no suffix'} {number}" for suffix, number in files.most_common())


def _are(things: Sized, noun: str) -> str:
    """Return how many things there are, with the verb."""
    return f"{amount(len(things), noun)} {'is' if len(things) == 1 else 'are'}"


def _few(examples: Iterable[str], between: str = ", ") -> str:
    """Return the first few examples, and the number of the others."""
    # Names of files that are not read need not be text, and may hold what looks like a message.
    texts = [visible_text(text).replace("\n", "\\n") for text in examples]
    line = between.join(texts[:EXAMPLES])
    if len(texts) > EXAMPLES:
        line += f" and {len(texts) - EXAMPLES} more"
    return line
