"""The one door to every dataset: a name and a folder in, classes and labelled images out."""

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from study.data.coop import LAYOUTS, load_aircraft, load_coop
from study.data.folders import load_folder
from study.data.imagenet import SHIFTS, load_imagenet, load_shift
from study.data.packaged import load_digits, load_glyphs
from study.data.prompts import templates_of
from study.data.records import Dataset, ImageSource, Record
from study.errors import DataError

__all__ = ["DATASET_NAMES", "Dataset", "ImageSource", "Record", "load_dataset"]

PACKAGED = {"digits": load_digits, "glyphs": load_glyphs}
ON_DISK = {
    "imagenet": load_imagenet,
    **dict.fromkeys(LAYOUTS, load_coop),
    "fgvc_aircraft": load_aircraft,
    **dict.fromkeys(SHIFTS, load_shift),
}
DATASET_NAMES: tuple[str, ...] = (*PACKAGED, *ON_DISK)


def load_dataset(
    name: str,
    root: Path | None = None,
    *,
    templates: Sequence[str] | None = None,
    require_images: bool = True,
) -> Dataset:
    """Read the classes and the labelled images of a dataset; never a pixel of it.

    Args:
        name: one of `DATASET_NAMES`; any other name is one's own dataset at `root`.
        root: the data root that holds the field's folders (or the dataset's own folder), or the
            folder of one's own dataset; packaged sets need none.
        templates: replace the dataset's templates; the first one is used in training.
        require_images: whether a missing image folder is an error already here.

    Raises:
        DataError: naming what is missing or unsound, where it was looked for, what is allowed.
    """
    if name in PACKAGED:
        dataset = PACKAGED[name]()
        if templates is None:
            return dataset
        return replace(dataset, templates=templates_of(name, templates))
    if root is None:
        near = get_close_matches(name, DATASET_NAMES, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise DataError(
            f"dataset {name!r} needs a folder{meant}; without one: {', '.join(PACKAGED)}"
        )
    root = Path(root).expanduser()
    if not root.exists():
        raise DataError(f"dataset {name!r}: no such file or folder: {root}")
    if name in ON_DISK:
        return ON_DISK[name](name, root, templates=templates, require_images=require_images)
    return load_folder(name, root, templates=templates)
