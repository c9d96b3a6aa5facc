"""The types of values that sections share: their bounds and patterns."""

from tests.config_faults import check_faults

test_a_value_out_of_its_type_is_told_with_its_path = check_faults("value_types")
