"""The JSON schema accepts what configurations may be, and editors find it.

`UPDATE=1 pytest tests/config/test_json_schema.py` writes `configs/schema.json` anew.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from study.config.json_schema import json_schema, json_schema_text, modeline
from tests.config.test_shipped import CONFIGS, SHIPPED

FILE = CONFIGS / "schema.json"
VALIDATOR = Draft7Validator(json_schema())
CASES = yaml.safe_load(Path(__file__).with_name("json_schema.yaml").read_text())


def test_the_file_is_the_schema():
    if os.environ.get("UPDATE"):
        FILE.write_text(json_schema_text())
    Draft7Validator.check_schema(json_schema())
    assert json.loads(FILE.read_text()) == json_schema()
    assert modeline() == f"# yaml-language-server: $schema={FILE.resolve().as_uri()}\n"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_a_shipped_file_names_the_schema_and_meets_it(path: Path):
    text = path.read_text()
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == FILE.resolve()
    VALIDATOR.validate(yaml.safe_load(text))


@pytest.mark.parametrize("document, place", CASES, ids=str)
def test_a_fault_is_seen_where_it_is(document: Any, place: str | None):
    places = [".".join(map(str, error.path)) for error in VALIDATOR.iter_errors(document)]
    assert places == ([] if place is None else [place])
