"""Prompt templates of every dataset, prompts from class names, and checks of class names."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from study.data.readers.benchmarks import BENCHMARKS, DEFAULT_TEMPLATE
from study.data.records import DataFaults, Templates, listed, listed_texts
from study.errors import DataError

# The first template of a dataset is used in training.
TEMPLATES: dict[str, Templates] = {
    "digits": ("a photo of the {}.",),
    "glyphs": ("a photo of the {}.",),
    **{name: (benchmark.template,) for name, benchmark in BENCHMARKS.items()},
}

# Seven templates that the CLIP authors chose from their eighty: together they do nearly as well on
# ImageNet as all eighty.
ENSEMBLE = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


Names = Sequence[str]
"""The names of some classes."""
UNSEEN = frozenset("\u200b\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Invisible characters, and those that reverse the order of others. No class name needs them.

Joining characters are not among them, since emoji and some scripts need these."""
CONTROL = ("Cc", "Zl", "Zp")
"""The categories of Unicode for control characters, and the ends of lines and paragraphs."""


def templates_of(name: str, override: Sequence[str] | None = None) -> Templates:
    """Return the templates of a dataset, or the override in their place.

    Raises:
        DataError: if there are no templates, or one does not have "{}" exactly once.
    """
    templates = TEMPLATES.get(name, (DEFAULT_TEMPLATE,))
    if override is not None:
        templates = tuple(override)
    wrong = [template for template in templates if template.count("{}") != 1]
    if wrong or not templates:
        raise DataError(
            f"templates of {name}: got {listed(wrong) or 'none'}; at least one is needed, and each "
            "has '{}' exactly once, in the place of the class name"
        )
    return templates


def prompts(class_names: Names, templates: Sequence[str]) -> list[list[str]]:
    """Put every class name into every template, with "_" replaced by a space.

    Returns:
        One list per class, with one prompt per template.
    """
    prompts_of_classes = []
    for name in class_names:
        words = name.replace("_", " ")
        # Not str.format: a class name or a template may contain other braces.
        prompts_of_classes.append([template.replace("{}", words) for template in templates])
    return prompts_of_classes


def refuse_unreadable_names(
    dataset: str, class_names: Names, tokenizer: Any, *, repeated: bool = False
) -> None:
    """Refuse class names that a tokenizer does not read as texts of their own.

    Names with the same tokens have the same prompt, a special token may end a text, and tables and
    terminals would show a control character as something else.

    Args:
        dataset: the dataset's name, for the message.
        class_names: the class names.
        tokenizer: the backbone's tokenizer.
        repeated: whether classes may have the same text, as in published lists.

    Raises:
        DataFaults: there are such names; it has a fault for each kind.
    """
    special = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    special |= {n: str(t) for n, t in tokenizer.added_tokens_decoder.items() if t.special}
    # Some checkpoints pad texts with "!", which a class name may have in it.
    special = {number: text for number, text in special.items() if re.search(r"[^\W\d_]", text)}
    # Not the token of an unknown word, unless it ends the text.
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    texts = [name.replace("_", " ") for name in class_names]
    rows = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    names_of = defaultdict(list)
    marked = []
    for name, row in zip(class_names, rows, strict=True):
        names_of[tuple(row)].append(name)
        unseen = [c for c in name if c in UNSEEN or unicodedata.category(c) in CONTROL]
        marks = [f"U+{ord(c):04X}" for c in dict.fromkeys(unseen)]
        for number, text in special.items():
            if number in row and (number in ends or text.lower() in name.lower()):
                marks.append(text)
        if marks:
            marked.append(f"{name!r} ({', '.join(marks)})")
    same = [" and ".join(map(repr, names)) for names in names_of.values() if len(names) > 1]
    found = {
        "classes that the backbone's tokenizer reads as the same text": [] if repeated else same,
        "class names with line breaks, invisible characters or special tokens": marked,
    }
    faults = [
        f"{dataset}: {fault}: {listed_texts(names)}; rename these classes"
        for fault, names in found.items()
        if names
    ]
    if faults:
        raise DataFaults(faults)
