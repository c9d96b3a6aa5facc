"""Faults of values are told in plain words, whatever is given for any key."""

import re
from pathlib import Path

import pytest
import yaml

from study.config.loading import ConfigFaults, build_config
from study.config.reference import list_keys
from study.config.wording import WORDS, describe_fault, name_overrides, override_texts
from study.errors import Fault
from study.method.peers import PEERS
from study.storage.ledger_files import JsonObject
from tests.case_tables import from_table
from tests.config_faults import faults

PYDANTIC = re.compile(
    r"\bInput\b|\bshould\b|[Ff]ield required|valid (tuple|dict|integer|string|number|boolean|list)"
    r"|unable to parse|instance of|pattern|Value error|is not allowed here"
)
"""What pydantic's own sentences have."""
STRANGE: tuple[object, ...] = (
    *(None, True, -1, 2.5, 10**9, 10**30, 1e300, float("nan"), "", "no such", "x" * 300),
    *([], {}, [1], [0, -1], ["", 2.5], {"a": 1}, {"bias": [1]}, {"": None}, [[1]], [{}]),
)  # fmt: skip
"""Values, of which most are faulty in most places."""
CASES = yaml.safe_load(Path(__file__).with_name("wording.yaml").read_text())


KEYS = [key.name.lower() for key in list_keys()]
SECTIONS = {key.rpartition(".")[0] for key in KEYS if "." in key}


@pytest.mark.parametrize("key", sorted({*KEYS, *SECTIONS}))
def test_no_fault_is_told_in_words_of_pydantic(key: str):
    *sections, name = key.split(".")
    for value in STRANGE:
        values = {name: value}
        if sections and sections[-1] in PEERS:
            values = {"peer": sections[-1], name: value}
        for section in reversed(sections):
            values = {section: values}
        told = []
        try:
            build_config(values, "here")
        except ConfigFaults as faulty:
            told = [str(fault) for fault in faulty.faults]
        assert not PYDANTIC.search("\n".join(told)), value


@pytest.mark.parametrize("values, told", CASES)
def test_a_value_of_the_wrong_kind_is_told_with_what_is_allowed(values: JsonObject, told: str):
    assert faults(values) == [told]


def test_an_error_of_a_type_without_words_still_has_its_place_and_value():
    fault = {"type": "of a later pydantic", "loc": ("seed",), "msg": "Input should", "input": 3}
    assert describe_fault(fault) == Fault("seed", "is not allowed here, got 3")
    assert "of a later pydantic" not in WORDS


@from_table
def test_an_override_is_named_that_sets_the_key_of_a_fault(key: str, override: str):
    texts = override_texts([override, "test.runners_up=1", "data.val_shots=1"])
    (fault,) = name_overrides([Fault(key, "is wrong, by\n  a command")], texts)
    assert fault == Fault(key, f"is wrong, by (override {override})\n  a command")


@pytest.mark.parametrize("key", ["data", "backbone", "search.trials.more", "seeds", ""])
def test_an_override_of_another_key_or_of_a_part_of_a_section_is_not_named(key: str):
    fault = Fault(key, "4 shots and seed=3 are wrong")
    texts = override_texts(["data.shots=4", "backbone.revision=1", "seed=3", "search.minutes=1"])
    assert name_overrides([fault], texts) == [fault]
