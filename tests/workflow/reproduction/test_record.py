"""The record takes numbers and texts of its own kind, and nothing that a terminal would obey."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from study.workflow.reproduction.record import Reproduction, Score, StepRecord

SCORE = Score(configuration="clipfit", dataset="dtd", seeds=3, test=0.5, parts={"base": 0.5})
WHOLE = Reproduction(
    measurement=True,
    settings=[],
    inputs={"dtd": {"published": "(47, 2820, 1128, 1692)"}},
    steps=[StepRecord(name="one", command="run", done=True, scores=[SCORE])],
)
FAULTS = yaml.safe_load(Path(__file__).with_name("hostile.yaml").read_text(encoding="utf-8"))


def changed(place: str, text: str) -> str:
    """Return the record as JSON with another value at a dotted place."""
    values: Any = json.loads(WHOLE.model_dump_json())
    *way, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    inner = values
    for part in way:
        inner = inner[part]
    inner[last] = "HERE"
    return json.dumps(values).replace('"HERE"', text)


def test_what_is_written_is_read():
    assert Reproduction.model_validate_json(WHOLE.model_dump_json()) == WHOLE


@pytest.mark.parametrize("place", FAULTS)
def test_a_value_of_another_kind_is_refused(place: str):
    for text in FAULTS[place]:
        with pytest.raises(ValidationError):
            Reproduction.model_validate_json(changed(place, text))
