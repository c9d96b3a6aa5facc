"""Prompt templates of every dataset, and the prompts made from class names with them."""

import unicodedata
from collections.abc import Sequence

from study.data.readers.benchmarks import BENCHMARKS, DEFAULT_TEMPLATE
from study.data.records import SHOWN, listed
from study.errors import DataError

# The first template of a dataset is used in training.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "digits": ("a photo of the {}.",),
    "glyphs": ("a photo of the {}.",),
    **{name: (benchmark.template,) for name, benchmark in BENCHMARKS.items()},
}

# Seven templates that the CLIP authors chose from their eighty: together they do nearly as well on
# ImageNet as all eighty.
ENSEMBLE: tuple[str, ...] = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


def templates_of(name: str, override: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the templates of a dataset, or the override in their place.

    Raises:
        DataError: if there are no templates, or one does not have "{}" exactly once.
    """
    templates = tuple(TEMPLATES.get(name, (DEFAULT_TEMPLATE,)) if override is None else override)
    wrong = [template for template in templates if template.count("{}") != 1]
    if wrong or not templates:
        raise DataError(
            f"templates of {name}: got {listed(wrong) or 'none'}; at least one is needed, and each "
            "has '{}' exactly once, in the place of the class name"
        )
    return templates


def prompts(class_names: Sequence[str], templates: Sequence[str]) -> list[list[str]]:
    """Put every class name into every template, with "_" replaced by a space.

    Returns:
        One list per class, with one prompt per template.
    """
    # Not str.format: a class name or a template may contain other braces.
    return [
        [template.replace("{}", name.replace("_", " ")) for template in templates]
        for name in class_names
    ]


def refuse_equal_prompts(dataset: str, class_names: Sequence[str]) -> None:
    """Refuse class names that CLIP's tokenizer reads as one and the same text.

    It joins letters and accents that stand apart (NFC), takes all white space for one space, and
    makes capital letters small. Such classes have equal prompts, so that no image of one can be
    told from those of the other.

    Args:
        dataset: the dataset's name, for the message.
        class_names: the class names.

    Raises:
        DataError: if there are any; the message names them.
    """
    alike: dict[str, list[str]] = {}
    for name in class_names:
        text = unicodedata.normalize("NFC", name.replace("_", " ")).lower()
        alike.setdefault(" ".join(text.split()), []).append(name)
    if same := [names for names in alike.values() if len(names) > 1]:
        rest = f" and {len(same) - SHOWN} more such groups" if len(same) > SHOWN else ""
        groups = "; ".join(" and ".join(map(repr, names)) for names in same[:SHOWN])
        raise DataError(
            f"{dataset}: classes that CLIP reads as the same text: {groups}{rest}; allowed are "
            "names that differ by more than capital letters, white space and the form of accents: "
            "rename them, or make them one class"
        )
