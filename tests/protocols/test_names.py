"""A protocol is found by its name, and says what it has no use for."""

import pytest

from study.errors import ConfigError
from study.protocols import PROTOCOLS, find_protocol
from tests.config_faults import protocol_faults


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_has_the_name_by_which_it_is_found(name: str) -> None:
    assert find_protocol(name).name == name


@pytest.mark.parametrize(
    ("name", "hint"), [("one_shot", "did you mean 'few_shot'"), ("Few-shot", "'few_shot'")]
)
def test_an_unknown_protocol_is_told_with_those_that_there_are(name: str, hint: str) -> None:
    with pytest.raises(
        ConfigError, match="few_shot, base_to_new, generalized, transfer, zero_shot"
    ) as caught:
        find_protocol(name)
    assert f"'{name}'" in str(caught.value)
    assert hint in str(caught.value)


def test_targets_are_refused_where_nothing_is_tested_on_them() -> None:
    (fault,) = protocol_faults({"data": {"targets": ["dtd"]}})
    assert fault.startswith("data.targets: few_shot")
    assert "transfer and zero_shot" in fault


@pytest.mark.parametrize("protocol", ["zero_shot", "transfer"])
def test_an_ablation_of_a_protocol_that_cannot_test_its_cells_is_a_fault(protocol: str) -> None:
    ablation = {"design": "only_one", "rates": [0.01, 0.1]}
    values = {"protocol": protocol, "ablation": ablation, "data": {"targets": ["dtd"]}}
    (fault,) = protocol_faults(values)
    assert (
        fault
        == f"ablation: cannot be of {protocol}; allowed are few_shot, base_to_new, generalized"
    )
