"""Sections: frozen, closed, and without values that no machine takes."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from study.config import value_types
from study.config.section import Section
from study.config.trial_settings import SubsetText
from study.config.value_types import LONGEST_NAME, LONGEST_PATH


class Place(Section):
    path: value_types.Place = Path()
    subset: SubsetText = "none"


@pytest.mark.parametrize(
    "values, told",
    [
        ({"path": "a" * (LONGEST_NAME + 1)}, "255"),
        ({"path": "a/" * LONGEST_PATH}, "4000"),
        ({"path": "a\0"}, "NUL"),
        ({"path": ""}, "empty"),
        ({"subset": "clipfitt"}, "'clipfit'"),
        ({"other": 1}, "Extra"),
    ],
)
def test_what_no_machine_takes_is_a_fault(values: dict[str, object], told: str):
    with pytest.raises(ValidationError, match=told):
        Place.model_validate(values)


def test_nothing_changes_later():
    with pytest.raises(ValidationError, match="frozen"):
        Place().subset = "ln"  # type: ignore[misc]
