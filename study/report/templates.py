"""The environment of Jinja's templates: the report and the model card."""

from pathlib import Path
from typing import Any


def templates(**options: Any) -> Any:
    """Return the environment of this package's templates; a name that is not given is an error.

    Args:
        options: others of `jinja2.Environment`, such as ``autoescape``, which HTML needs.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # which few commands need

    loader = FileSystemLoader(Path(__file__).parent)
    # The report asks for `autoescape`; the card is Markdown.
    return Environment(  # noqa: S701
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options
    )
