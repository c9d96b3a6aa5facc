"""What commands print with ``--json``: one document each.

Scores are fractions, and a number that is not finite is null. The file of the same name that ends
in ``.json`` has the schemas of all documents.
"""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

SCHEMAS = Path(__file__).with_suffix(".json")
"""The file of all schemas; tests hold the documents to it."""


def print_document(values: Any) -> None:
    """Print a document as JSON.

    Args:
        values: its content, of Python's own types.
    """
    print(TypeAdapter(Any).dump_json(values, indent=2).decode())
