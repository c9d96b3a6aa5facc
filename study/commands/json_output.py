"""What commands print with ``--json``: the objects that they read, as one JSON document."""

from typing import Any

from pydantic import TypeAdapter


def print_json(value: Any) -> None:
    """Print a value as JSON, and numbers that are not finite as null.

    Args:
        value: dataclasses, pydantic models, and what Python's own types make of them.
    """
    print(TypeAdapter(Any).dump_json(value, indent=2).decode())
