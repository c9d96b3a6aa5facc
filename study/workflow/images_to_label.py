"""``predict --next``: the labelled images of a pool that a person should label next."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from study.process.terminal_table import amount
from study.serving.labelling import LabelledImage
from study.serving.next_to_label import choose_next

COLUMNS = ("order", "margin", "disagreement")
"""The fields of a chosen image that are columns of the CSV."""


def images_to_label(labelled: Iterable[LabelledImage], count: int) -> Iterator[LabelledImage]:
    """Yield the images to label next, and print which could not be read.

    If there are none to choose from, yield all that could not be read.

    Args:
        labelled: the images; of equal paths the last counts.
        count: how many to choose.
    """
    images = list({image.path: image for image in labelled}.values())
    pool = [image for image in images if image.error is None]
    if not pool:
        yield from images
        return
    for image in images:
        if image.error is not None:
            print(f"{str(image.path)!r} cannot be chosen: {image.error}", file=sys.stderr)
    if count > len(pool):
        print(f"--next {count}: all {amount(len(pool), 'image')} are chosen", file=sys.stderr)
    chosen = choose_next(
        np.array([image.classes[0][0] for image in pool]),
        np.array([image.margin for image in pool]),
        np.array([image.disagreement for image in pool]),
        np.array([image.features for image in pool]),
        count,
    )
    for order, row in enumerate(chosen, start=1):
        yield replace(pool[row], order=order)
