"""Prompt templates of every dataset, prompts from class names, and checks of class names."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from study.data.readers.benchmarks import BENCHMARKS, DEFAULT_TEMPLATE
from study.data.records import SHOWN, Templates, listed, listed_texts
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


def refuse_equal_prompts(dataset: str, class_names: Names) -> None:
    """Refuse class names that CLIP's tokenizer reads as one and the same text.

    It joins letters and accents that stand apart (NFC), takes all white space for one space, and
    makes capital letters small. Such classes have equal prompts, so their images cannot be told
    apart.

    Args:
        dataset: the dataset's name, for the message.
        class_names: the class names.

    Raises:
        DataError: if there are any; the message names them.
    """
    names_of_text = defaultdict(list)
    for name in class_names:
        names_of_text[_as_read(name)].append(name)
    same = [names for names in names_of_text.values() if len(names) > 1]
    if same:
        raise DataError(
            f"{dataset}: classes that CLIP reads as the same text: {_groups(same)}; allowed are "
            "names that differ by more than capital letters, white space and the form of accents: "
            "rename them, or make them one class"
        )


def refuse_control_characters(dataset: str, class_names: Names) -> None:
    """Refuse class names with line breaks, control characters or characters that are not seen.

    Tables, charts and terminals would show them as something else, and CLIP reads them as text.

    Args:
        dataset: the dataset's name, for the message.
        class_names: the class names.

    Raises:
        DataError: there are any; the message names them and their characters.
    """
    faulty = []
    for name in class_names:
        codes = [
            f"U+{ord(character):04X}"
            for character in dict.fromkeys(name)
            if unicodedata.category(character) in CONTROL or character in UNSEEN
        ]
        if codes:
            faulty.append(f"{name!r} ({', '.join(codes)})")
    if faulty:
        raise DataError(
            f"{dataset}: class names with control characters, line breaks or characters that are "
            f"not seen: {listed_texts(faulty)}; rename these classes"
        )


def refuse_special_tokens(dataset: str, class_names: Names, tokenizer: Any) -> None:
    """Refuse class names that a tokenizer reads as special tokens instead of text.

    Such a token may end a text, for example, so that the rest of a prompt is lost.

    Args:
        dataset: the dataset's name, for the message.
        class_names: the class names.
        tokenizer: the backbone's tokenizer, which says what its special tokens are.

    Raises:
        DataError: there are any; the message names them and their tokens.
    """
    tokens = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    for number, added in tokenizer.added_tokens_decoder.items():
        if added.special:
            tokens[number] = str(added.content)
    # Some checkpoints pad texts with "!", which a class name may have in it.
    marks = {number: token for number, token in tokens.items() if re.search(r"[^\W\d_]", token)}
    unknown = tokenizer.unk_token_id
    is_end = unknown in (tokenizer.eos_token_id, tokenizer.bos_token_id)
    faulty = []
    for name, row in zip(class_names, _token_rows(class_names, tokenizer), strict=True):
        inside = []
        for number in dict.fromkeys(row):
            mark = marks.get(number)
            # A word that the tokenizer does not know is no mark, unless it ends the text.
            is_word = number == unknown and not is_end
            if mark is not None and not (is_word and mark.lower() not in name.lower()):
                inside.append(mark)
        if inside:
            faulty.append(f"{name!r} ({', '.join(inside)})")
    if faulty:
        raise DataError(
            f"{dataset}: class names that the backbone's tokenizer does not read as text, with the "
            f"special tokens that it reads: {listed_texts(faulty)}; rename these classes"
        )


def refuse_equal_tokens(dataset: str, class_names: Names, tokenizer: Any) -> None:
    """Refuse class names that differ only in characters that a tokenizer does not know.

    Names that CLIP reads as the same text anyway are left to `refuse_equal_prompts`.

    Args:
        dataset: the dataset's name, for the message.
        class_names: the class names.
        tokenizer: the backbone's tokenizer.

    Raises:
        DataError: there are any; the message names them.
    """
    names_of_tokens: dict[tuple[int, ...], dict[str, str]] = defaultdict(dict)
    for name, row in zip(class_names, _token_rows(class_names, tokenizer), strict=True):
        names_of_tokens[tuple(row)].setdefault(_as_read(name), name)
    same = [[*names.values()] for names in names_of_tokens.values() if len(names) > 1]
    if same:
        raise DataError(
            f"{dataset}: classes that the backbone's tokenizer reads as the same text, since it "
            f"does not know their characters: {_groups(same)}; rename these classes"
        )


def _token_rows(class_names: Names, tokenizer: Any) -> list[list[int]]:
    """Return the token ids of each class name as it stands in a prompt, without start and end."""
    texts = [name.replace("_", " ") for name in class_names]
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)
    return encoded["input_ids"]


def _as_read(name: str) -> str:
    """Return a class name as CLIP's tokenizer reads it in a prompt."""
    text = unicodedata.normalize("NFC", name.replace("_", " ")).lower()
    return " ".join(text.split())


def _groups(same: Sequence[Sequence[str]]) -> str:
    groups = [" and ".join(map(repr, names)) for names in same[:SHOWN]]
    text = "; ".join(groups)
    if len(same) > SHOWN:
        text += f" and {len(same) - SHOWN} more such groups"
    return text
