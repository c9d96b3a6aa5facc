"""The tables of keys in `configs/README.md` are the schema's.

`UPDATE=1 pytest tests/config/test_reference.py` writes them anew.
"""

import os
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from study.config.reference import Key, list_keys
from study.config.yaml_text import yaml_on_one_line

PAGE = Path(__file__).parents[2] / "configs" / "README.md"
MARK = "<!-- Written by UPDATE=1 pytest tests/config/test_reference.py -->\n"
LONGEST_DEFAULT = 60
"""The most characters of a default in a table."""
SECTIONS = {key.name.partition(".")[0] for key in list_keys() if "." in key.name}


def section(key: Key) -> str:
    """Return the section of a key, or "" if it is outside of all sections."""
    first = key.name.partition(".")[0]
    return first if first in SECTIONS else ""


def default_of(key: Key) -> str:
    """Return the default of a key as YAML on one line."""
    if key.name == "storage":
        return "runs"  # whatever the environment says
    value = key.field.get_default(call_default_factory=True)
    return yaml_on_one_line(TypeAdapter(Any).dump_python(value, mode="json"))


def row(key: Key) -> str:
    """Return a key as a row of its section's table."""
    default = "required"
    if not key.field.is_required():
        value = default_of(key)
        default = f"`{value}`" if len(value) <= LONGEST_DEFAULT else "…"
    name = key.name.removeprefix(f"{section(key)}.")
    return f"| `{name}` | {default} | {key.meaning} |\n"


def tables() -> str:
    """Return a table of the keys outside of sections, and one for each section."""
    written = ""
    keys_by_section = sorted(list_keys(), key=lambda key: section(key) != "")
    for name, keys in groupby(keys_by_section, key=section):
        heading = f"\n### `{name}`\n" if name else ""
        header = "\n| key | default | meaning |\n|---|---|---|\n"
        written += heading + header + "".join(map(row, keys))
    return written


def test_the_tables_of_keys_are_those_of_the_schema():
    before, mark, written = PAGE.read_text().partition(MARK)
    assert mark
    if os.environ.get("UPDATE"):
        PAGE.write_text(before + mark + tables())
    else:
        assert written == tables()


def test_every_key_has_a_meaning():
    assert all(key.meaning for key in list_keys())
