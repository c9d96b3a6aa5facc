"""Tables of words and values that stand in files beside the code."""

import tomllib
from pathlib import Path
from typing import Any


def read_table(module: str) -> dict[str, Any]:
    """Return the table of a module, which stands beside it as TOML, by the module's file."""
    return tomllib.loads(Path(module).with_suffix(".toml").read_text(encoding="utf-8"))
