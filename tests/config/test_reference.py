"""The list of keys in `configs/README.md` is the schema's.

`UPDATE=1 pytest tests/config/test_reference.py` writes it anew.
"""

import os
import re
from pathlib import Path

from tests.table_of_keys import UNITS, list_keys, reference

PAGE = Path(__file__).parents[2] / "configs" / "README.md"
MARK = "<!-- The list below is written by UPDATE=1 pytest tests/config/test_reference.py -->\n\n"


def test_the_list_of_keys_is_that_of_the_schema():
    before, mark, keys = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark
    if os.environ.get("UPDATE"):
        PAGE.write_text(before + mark + reference(), encoding="utf-8")
    else:
        assert keys == reference()


def test_every_line_says_what_its_key_means_and_every_unit_is_of_a_key():
    lines = reference().splitlines()
    assert all(re.fullmatch(r"- `[\w.]+` \(.+; .+\): .+", line) for line in lines)
    assert UNITS.keys() <= {*list_keys()}
