"""What commands print with ``--json``: one document each.

Scores are fractions, and a number that is not finite is null. The file of the same name that ends
in ``.json`` has the schemas of all documents, which tests hold them to.
"""

from typing import Any

from pydantic import TypeAdapter


def print_document(values: Any) -> None:
    """Print a document as JSON.

    Args:
        values: its content, of Python's own types.
    """
    print(TypeAdapter(Any).dump_json(values, indent=2).decode())
