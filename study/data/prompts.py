"""Prompt templates of every dataset, and the prompts made from class names with them."""

from collections.abc import Sequence

from study.errors import DataError

DEFAULT = "a photo of a {}."

# The first template of a dataset is used in training. The templates are those of the reference
# code, which differ from CoOp's for DTD ("{} texture." there).
TEMPLATES: dict[str, tuple[str, ...]] = {
    "digits": ("a photo of the {}.",),
    "glyphs": ("a photo of the {}.",),
    "imagenet": (DEFAULT,),
    "caltech101": (DEFAULT,),
    "oxford_pets": ("a photo of a {}, a type of pet.",),
    "stanford_cars": (DEFAULT,),
    "oxford_flowers": ("a photo of a {}, a type of flower.",),
    "food101": ("a photo of {}, a type of food.",),
    "fgvc_aircraft": ("a photo of a {}, a type of aircraft.",),
    "sun397": (DEFAULT,),
    "dtd": ("a photo of a {}, a type of texture.",),
    "eurosat": ("a centered satellite photo of {}.",),
    "ucf101": ("a photo of a person doing {}.",),
    "imagenetv2": (DEFAULT,),
    "imagenet_sketch": (DEFAULT,),
    "imagenet_a": (DEFAULT,),
    "imagenet_r": (DEFAULT,),
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
    templates = tuple(override) if override is not None else TEMPLATES.get(name, (DEFAULT,))
    if not templates:
        raise DataError(f"templates of {name}: got none; at least one is needed")
    for template in templates:
        if template.count("{}") != 1:
            raise DataError(
                f"templates of {name}: got {template!r}; a template has '{{}}' exactly once, "
                "in the place of the class name"
            )
    return templates


def prompts(class_names: Sequence[str], templates: Sequence[str]) -> list[list[str]]:
    """Put every class name into every template, with "_" replaced by a space.

    Returns:
        One list per class, with one prompt per template.
    """
    # Not str.format: a class name or a template may contain other braces.
    names = [name.replace("_", " ") for name in class_names]
    return [[template.replace("{}", name) for template in templates] for name in names]
