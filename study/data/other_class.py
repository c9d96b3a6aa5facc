"""Classes whose names say that their images are of none, such as a folder `unknown`."""

from dataclasses import replace
from typing import Any, Literal

from study.data.records import SPLITS, Dataset, listed
from study.errors import DataError

OtherUse = Literal["class", "foreign"]
NAMES = frozenset({"unknown", "other", "others", "misc", "miscellaneous"})
"""Such names, in lower case."""
NO_CLASS = -1
"""The label of an image of no class."""


def set_aside(dataset: Dataset, use: OtherUse | None) -> Dataset:
    """Return a dataset whose images of no class are in `foreign`, or in a class if asked for that.

    Raises:
        DataError: nobody said what they are.
    """
    others = {label for label, name in enumerate(dataset.class_names) if name.lower() in NAMES}
    if use == "class" or not others:
        return dataset
    if use is None:
        raise DataError(
            f"{dataset.name}: is {listed(dataset.class_names[label] for label in others)} a class? "
            "allowed are data.other=foreign (its images are of no class: in no prompt and in no "
            "score; refit NAME --unknown-check estimates how many predict --unknown finds) and "
            "data.other=class (a class like the others, with its name in the prompts)"
        )
    kept = [label for label in range(len(dataset.class_names)) if label not in others]
    foreign = []
    changed: dict[str, Any] = {}
    for split in SPLITS:
        in_class = []
        for record in getattr(dataset, split):
            if record.label in others:
                foreign.append(replace(record, label=NO_CLASS))
            else:
                in_class.append(replace(record, label=kept.index(record.label)))
        changed[split] = tuple(in_class)
    names = tuple(dataset.class_names[label] for label in kept)
    return replace(dataset, class_names=names, foreign=tuple(foreign), **changed)
