"""The environment of Jinja's templates, which hold the words of long texts."""

from pathlib import Path
from typing import Any


def templates(folder: Path, **options: Any) -> Any:
    """Return the environment of the templates in a folder; a name that is not given is an error.

    Args:
        folder: the folder, and those below it.
        options: others of `jinja2.Environment`, such as ``autoescape``.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # which few commands need

    loader = FileSystemLoader(folder)
    # Most are of texts for a terminal; those of HTML ask for `autoescape`.
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, **options)  # noqa: S701
