"""A check as a document: what is printed is kept."""

from argparse import Namespace

import pytest

from study.commands.check_document import printed_as_json
from study.process.terminal_table import print_sentences
from tests.commands.test_json_output import parsed


def test_sentences_in_yellow_are_warnings_and_an_interrupt_prints_nothing(
    capsys: pytest.CaptureFixture[str],
):
    options = Namespace(json=True, estimate=False)
    with printed_as_json(options):
        print_sentences(options.console, "may not be meant", "yellow")
        options.console.print("is well")
    found = parsed(capsys.readouterr().out)
    assert (found["warnings"], found["notes"]) == (["may not be meant"], ["is well"])
    with pytest.raises(KeyboardInterrupt), printed_as_json(options):
        raise KeyboardInterrupt
    assert capsys.readouterr().out == ""
