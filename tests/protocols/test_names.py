"""A protocol is found by its name, and says what it has no use for."""

import pytest

from study.errors import ConfigError
from study.protocols import PROTOCOLS, find_protocol


def test_a_protocol_has_the_name_by_which_it_is_found():
    assert [find_protocol(name).name for name in PROTOCOLS] == [*PROTOCOLS]


@pytest.mark.parametrize("name", ["one_shot", "Few-shot"])
def test_an_unknown_protocol_is_told_with_those_that_there_are(name: str):
    known = "few_shot, base_to_new, generalized, transfer, zero_shot"
    with pytest.raises(ConfigError, match=f"'{name}'.*'few_shot'.*{known}"):
        find_protocol(name)
