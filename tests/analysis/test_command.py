"""A command says in one line what a user can mend, and raises what is a fault of the code."""

from collections.abc import Sequence

import pytest

from study.analysis.command import command
from study.errors import DataError


def test_a_fault_that_a_user_can_mend_is_a_message_and_the_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @command
    def main(arguments: Sequence[str] | None) -> None:
        """Fail where there are arguments."""
        if arguments:
            raise DataError(f"no study in {arguments[0]}")

    assert (main(), main(["here"])) == (0, 2)
    assert capsys.readouterr().err == "no study in here\n"
    assert main.__doc__ == "Fail where there are arguments."


def test_a_fault_of_the_code_is_raised() -> None:
    @command
    def main(arguments: Sequence[str] | None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main([])
