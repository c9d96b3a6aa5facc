"""The published datasets in one table, ``benchmarks.toml``: layout, prompt, size, how to get each.

A further dataset with one of these layouts is one more row of it.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

DEFAULT_TEMPLATE = "a photo of a {}."
MIRROR = "zhengli97/prompt_learning_dataset"
"""A dataset of the Hugging Face hub with copies of those in CoOp's list."""


def _sun(name: str) -> str:
    """Reverse the parts of a path: `atrium/public` becomes `public atrium`."""
    # Paths of the raw list start with a folder for the first letter: /a/atrium/public.
    path = re.sub(r"\A/*[^/]/+(?=[^/])", "", name)
    return " ".join(part for part in reversed(path.split("/")) if part)


CLEANINGS: Mapping[str, Callable[[str], str]] = {
    "none": str,
    "lower": str.lower,
    # The year from the end to the front.
    "year_first": partial(re.sub, r"\A(.+) ((?:19|20)\d\d)\Z", r"\2 \1"),
    "parts_reversed": _sun,
    # CamelCase words: `ApplyEyeMakeup` becomes `Apply_Eye_Makeup`.
    "words_apart": partial(re.sub, r"(?<=[a-z0-9])(?=[A-Z])", "_"),
}
"""The functions from a raw class name to the class name of the prompts."""


@dataclass(frozen=True)
class Layout:
    """The files and folders of a dataset below the data root.

    A dataset has a published split file; a shifted test set of ImageNet has a folder per class.
    """

    folder: str
    """The name of the dataset's folder; by default the dataset's."""
    images: str = "images"
    """The image folder inside the dataset's folder; "" means the dataset's folder itself."""
    split: str = ""
    """The name of the split file; "" means that this is a shifted test set."""
    cleaning: str = "none"
    """One of `CLEANINGS`, for all raw class names."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The class names of the prompts of single raw names."""
    dropped: Sequence[str] = ()
    """The raw names of classes that the published experiments leave out."""
    anchors: Sequence[str] = ()
    """The image folders of a dataset that has several; `images` is then ""."""
    numbered: bool = False
    """Whether class folders are named by position in classnames.txt rather than WordNet id."""
    subset: int = 0
    """The number of classes of a shift with only some of classnames.txt; 0 means all of them."""

    def clean(self, name: str) -> str:
        """Return the class name of the prompts for a raw one."""
        return self.renamed.get(name, CLEANINGS[self.cleaning](name))


class Counts(NamedTuple):
    """The numbers of classes, and of images of each split, in a dataset."""

    classes: int
    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Benchmark:
    """A published dataset."""

    layout: Layout | None
    """The files and folders; None means that the dataset's own reader knows them."""
    counts: Counts
    """The published numbers of classes and images."""
    how_to_get: str
    """Known problems of getting the images, such as dead links or copies that do not fit."""
    template: str = DEFAULT_TEMPLATE
    """The prompt of the reference code, which differs from CoOp's for DTD (``{} texture.``)."""
    source: str = ""
    """Where it is published; "" means a section of CoOp's DATASETS.md."""


BENCHMARKS: dict[str, Benchmark] = {}
"""The rows of ``benchmarks.toml`` by name."""
for _name, _row in tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
).items():
    _layout = _row.pop("layout", None)
    if _layout:
        _layout = Layout(**{"folder": _name, **_layout})
    BENCHMARKS[_name] = Benchmark(_layout, Counts(**_row.pop("counts")), **_row)
LAYOUTS = {n: b.layout for n, b in BENCHMARKS.items() if b.layout and b.layout.split}
SHIFTS = {n: b.layout for n, b in BENCHMARKS.items() if b.layout and not b.layout.split}


def download_note(name: str, folder: Path) -> str:
    """Return a few sentences on how to get a dataset and where it belongs."""
    benchmark = BENCHMARKS[name]
    source = benchmark.source
    if not source:
        source = f"the section of {name} in CoOp's DATASETS.md (github.com/KaiyangZhou/CoOp)"
    note = f"Get it by {source}: {benchmark.how_to_get}. "
    if not name.startswith("imagenet"):
        note += f"A mirror, which was not tried, is {MIRROR} on the Hugging Face hub. "
    return f"{note}It belongs in {folder}"
