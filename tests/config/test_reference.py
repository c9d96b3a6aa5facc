"""The list of keys in `configs/README.md` is the schema's.

`UPDATE=1 pytest tests/config/test_reference.py` writes it anew.
"""

import os
from pathlib import Path

from study.config.reference import list_keys

PAGE = Path(__file__).parents[2] / "configs" / "README.md"
MARK = "<!-- The list below is written by UPDATE=1 pytest tests/config/test_reference.py -->\n\n"


def test_the_list_of_keys_is_that_of_the_schema():
    before, mark, keys = PAGE.read_text().partition(MARK)
    assert mark
    written = ""
    for key in list_keys():
        default = "required" if key.default is None else f"default `{key.default}`"
        written += f"- `{key.name}` ({default}): {key.meaning}\n"
    if os.environ.get("UPDATE"):
        PAGE.write_text(before + mark + written)
    else:
        assert keys == written


def test_every_key_has_a_meaning():
    assert all(key.meaning for key in list_keys())
