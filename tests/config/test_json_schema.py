"""The JSON schema accepts what configurations may be, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from study.config.json_schema import json_schema
from tests.config.test_shipped import CONFIGS, SHIPPED

VALIDATOR = Draft202012Validator(json_schema())
CASES = yaml.safe_load(Path(__file__).with_name("json_schema.yaml").read_text())


def test_the_schema_is_one_of_its_dialect():
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_a_shipped_file_meets_the_schema(path: Path):
    VALIDATOR.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("document, place", CASES, ids=str)
def test_a_fault_is_seen_where_it_is(document: Any, place: str | None):
    places = [".".join(map(str, error.path)) for error in VALIDATOR.iter_errors(document)]
    assert places == ([] if place is None else [place])
