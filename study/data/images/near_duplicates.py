"""Images that are nearly the same, such as copies in another size, by a perceptual hash.

The hash says for each of the lowest frequencies of a grey image whether it is above their median.
Source: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"; ImageHash
computes it.
"""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from study.data.records import Dataset, Record

SIDE = 16
"""The lowest frequencies in each direction; with 8, every fifth written digit is like others."""
MOST_DIFFERING = 20
"""The most bits of `SIDE`² in which two images differ that are nearly the same."""
FEWEST_SET = 64
"""The fewest bits above the median; where more are equal to it, there is nothing to compare."""
AT_ONCE = 64
"""How many test images are compared at a time, so that a block fits the processor's cache."""
WITHIN = 20.0
"""How many seconds a comparison takes at most."""


class PixelHashes(NamedTuple):
    """The hashes of an image's pixels."""

    exact: bytes
    """Equal for equal pixels alone."""
    perceptual: bytes
    """The bits of the perceptual hash; empty if the image has too little detail."""


def perceptual_hash(image: Image.Image) -> bytes:
    """Return the perceptual hash of an image; it is empty if the image has too little detail."""
    import imagehash  # takes half a second, which a study does without

    # Of a large image it takes several times as long, and finds no more.
    small = image.reduce(max(1, min(image.size) // (8 * SIDE)))
    bits = imagehash.phash(small, hash_size=SIDE).hash
    if bits.sum() < FEWEST_SET:
        return b""
    return np.packbits(bits).tobytes()


def find_near_duplicates(
    dataset: Dataset, hashes: Mapping[str, PixelHashes], seconds: float = WITHIN
) -> tuple[dict[str, str], int]:
    """Return the test images that are nearly the same as images of train or val, but not equal.

    Args:
        dataset: the dataset.
        hashes: the hashes of its images by path; images without any are left out.
        seconds: how long it may take.

    Returns:
        The path of each such test image, with that of an image to learn from; and the number of
        test images that there was no time to compare.
    """
    learned, learned_bits = _bits(dataset.train + dataset.val, hashes)
    tested, tested_bits = _bits(dataset.test, hashes)
    similar: dict[str, str] = {}
    ends = time.monotonic() + seconds
    for start in range(0, len(tested), AT_ONCE):
        if time.monotonic() > ends:
            return similar, len(tested) - start
        bits = tested_bits[start : start + AT_ONCE]
        # Most pairs differ in more of the first bits alone.
        first = np.bitwise_count(bits[:, :1] ^ learned_bits[:, 0])
        rows, columns = np.nonzero(first <= MOST_DIFFERING)
        differing = np.bitwise_count(bits[rows] ^ learned_bits[columns]).sum(axis=1)
        near = differing <= MOST_DIFFERING
        for row, column in zip(rows[near], columns[near], strict=True):
            path, other = tested[start + row], learned[column]
            if hashes[path].exact != hashes[other].exact:
                similar.setdefault(path, other)
    return similar, 0


def _bits(
    records: Iterable[Record], hashes: Mapping[str, PixelHashes]
) -> tuple[list[str], NDArray[np.uint64]]:
    """Return the paths of the images with detail, and their bits, (images, 4)."""
    paths = [r.path for r in records if r.path in hashes and hashes[r.path].perceptual]
    packed = b"".join(hashes[path].perceptual for path in paths)
    return paths, np.frombuffer(packed, np.uint64).reshape(-1, SIDE**2 // 64)
