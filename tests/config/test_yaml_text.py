"""YAML with comments: what is written is what is read."""

import pytest
import yaml

from study.config.yaml_text import commented_yaml, yaml_on_one_line
from tests.case_tables import from_table

VALUES = {
    "data": {
        "root": "a: b # 'c'\n\"d\"",
        "groups": "x\nseed: 2\ny",
        "columns": {"path": "- file"},
        "splits": {},
        "templates": ["a, {}", "#"],
    },
    "search": {"space": {"rates": {"bias": [1e-05, 1.0]}}, "asha": None, "sampler": "no"},
    "name": "1e3",
}


@from_table
def test_comments_change_no_value(comment: str):
    keys = ["data", "data.root", "data.groups", "search.space", "search.space.rates", "name"]
    text = commented_yaml(VALUES, dict.fromkeys(keys, comment))
    assert yaml.safe_load(text) == VALUES
    assert text.count("# begins") == (len(keys) if comment else 0)
    assert "    rates: {bias: [1.0e-05, 1.0]}" in text


@pytest.mark.parametrize("value", ["", "a\x85b", "\ufeff", "null", "012", "---", "a\u2028b"])
def test_a_text_stays_on_its_line_and_a_text(value: str):
    text = yaml_on_one_line(value)
    assert "\n" not in text
    assert yaml.safe_load(f"key: {text} # comment\n") == {"key": value}
