"""A look at the images of a study before it starts: at a sample of them, or at all."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rich.console import Console
from rich.progress import Progress

from study.analysis.formatting import count
from study.data.check import image_fault
from study.data.records import Dataset, keyed_order, listed
from study.errors import DataError
from study.trial.study import Study

SAMPLE = 64
"""How many images of a dataset are decoded where not all are."""
AT_ONCE = 512
"""How many images are given to the threads at a time, as a million would fill the memory."""
THREADS = 8


def check_images(study: Study, console: Console, *, every: bool) -> None:
    """Decode images of a study's datasets, and print how many there were.

    Images that cannot be read are printed where the study leaves them out.

    Args:
        study: the study.
        console: where the result is printed, and the progress shown.
        every: whether to decode all images, instead of `SAMPLE` of each dataset.

    Raises:
        DataError: images cannot be read and the study would fail; the message names some.
    """
    datasets = [study.dataset(), *map(study.target, study.config.data.targets)]
    wanted = [(dataset, _paths(dataset, every=every)) for dataset in datasets]
    tried = sum(len(paths) for _, paths in wanted)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("decoding", total=tried)
        faults = []
        for fault in _faults(wanted):
            faults += [fault] if fault else []
            bar.advance(task)
    of_all = "all" if every else f"a sample of {count(tried)}"
    if not faults:
        console.print(f"images that were decoded: {of_all}", highlight=False)
        return
    sentence = f"{count(len(faults))} of {count(tried)} images cannot be read: {listed(faults)}"
    if study.config.data.on_corrupt == "fail":
        rest = "" if every else "; --check --images tries all"
        raise DataError(f"data: {sentence}; data.on_corrupt=skip leaves such images out{rest}")
    console.print(
        f"{sentence}; the study leaves them out",
        style="yellow",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _paths(dataset: Dataset, *, every: bool) -> list[str]:
    splits = (dataset.train, dataset.val, dataset.test)
    paths = dict.fromkeys(record.path for records in splits for record in records)
    return list(paths) if every else keyed_order(paths, "a look at the images")[:SAMPLE]


def _faults(wanted: list[tuple[Dataset, list[str]]]) -> Iterator[str | None]:
    """Yield what is wrong with each image, or None."""
    with ThreadPoolExecutor(THREADS) as pool:
        for dataset, paths in wanted:
            look = partial(image_fault, dataset.source, [])
            for start in range(0, len(paths), AT_ONCE):
                yield from pool.map(look, paths[start : start + AT_ONCE])
