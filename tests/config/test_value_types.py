"""The types of values that sections share: their bounds and patterns."""

from typing import Any

import pytest

from tests.config_faults import FAULTS, check_fault


@pytest.mark.parametrize(("values", "path", "told"), FAULTS["value_types"])
def test_a_value_out_of_its_type_is_told_with_its_path(
    values: dict[str, Any], path: str, told: list[str]
) -> None:
    check_fault(values, path, told)
