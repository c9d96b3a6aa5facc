"""What a configuration may not be: each fault has the key at fault and the value received."""

import pytest

from study.config.loading import build_config
from study.config.reference import Key, list_keys
from study.config.renamed_keys import GONE, RENAMED
from study.errors import FaultsError

STRANGE: tuple[object, ...] = (
    *(None, True, -1, 2.5, 10**9, 10**30, 1e300, float("nan"), "", "no such", "x" * 300),
    *([], {}, [1], [0, -1], ["", 2.5], {"a": 1}, {"bias": [1]}, {"": None}, [[1]], [{}]),
)  # fmt: skip
"""Values, of which most are faulty in most places."""


@pytest.mark.parametrize("key", list_keys(), ids=lambda key: key.name)
def test_a_strange_value_is_accepted_or_a_fault_near_its_key(key: Key):
    *sections, name = key.name.lower().split(".")
    for value in STRANGE:
        values = {name: value}
        for section in reversed(sections):
            values = {section: values}
        try:
            build_config(values, "here")
        except FaultsError as error:
            for fault in error.faults:
                assert fault.key.startswith(key.name.split(".")[0])
                assert len(fault.message) < 1000
        else:
            assert value is not True or key.field.annotation is bool, "true is no number"


def test_a_file_of_release_1_0_0_has_each_key_that_is_gone_or_renamed_as_its_faults():
    values = {
        "confirm": {"seeds": [1, 2], "strength": 0.5},
        "search": {
            "peer_trials": 3,
            "space": {"whole": True},
            "baselines": {
                "mine": {"subset": "none", "peer": {"method": "full", "lr": 0.1}},
                "yours": {"peer": "lora", "lr": 1e-3},
            },
        },
    }
    with pytest.raises(FaultsError) as caught:
        build_config(values, "old.yaml")
    found = {fault.key: fault.message for fault in caught.value.faults}
    gone = ("confirm.strength", "search.space.whole")
    renamed = {
        "confirm.seeds": "test.seeds",
        "search.peer_trials": "search.method_trials",
        "search.baselines.mine.peer": "search.baselines.LABEL.method",
        "search.baselines.yours.peer": "search.baselines.LABEL.method",
    }
    assert found.keys() == {*gone, *renamed}
    assert all("removed" in found[key] for key in gone)
    assert all(new in found[key] for key, new in renamed.items())
    known = {key.name for key in list_keys()}
    assert not known & {*GONE, *RENAMED}
    assert {new for new in RENAMED.values() if "LABEL" not in new} <= known
