"""Sentences whose words stand in templates, ``NAME.txt.jinja`` in the rooms that say them.

A template is given results and says them; the functions below form its numbers and names.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from study.process.templates import templates
from study.process.terminal_table import amount
from study.report import final_model, formatting, judgements, names, setting_descriptions


@cache
def _environment() -> Any:
    """Return the environment of all templates, with what they can call."""
    environment = templates(Path(__file__).parents[1], lstrip_blocks=True)
    for module in (final_model, formatting, judgements, names, setting_descriptions):
        environment.globals.update(vars(module))
    environment.globals.update(amount=amount)
    environment.filters["format_rate"] = formatting.format_rate
    return environment


def sentences(template: str, **values: object) -> list[str]:
    """Return what a template says, each paragraph as one line.

    A blank line ends a paragraph. Any other end of a line is a space.

    Args:
        template: the room and the name of the template, without its suffixes.
        values: what the template names.
    """
    text = _environment().get_template(f"{template}.txt.jinja").render(values)
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return [re.sub(r"\s*\n\s*", " ", paragraph) for paragraph in paragraphs if paragraph]


def rows(template: str, **values: object) -> list[tuple[str, str]]:
    """Return what a template says as pairs: each paragraph is a name, a colon and a text.

    Args:
        template: see `sentences`.
        values: what the template names.
    """
    pairs = []
    for paragraph in sentences(template, **values):
        name, _, text = paragraph.partition(":")
        pairs.append((name, text.strip()))
    return pairs
