"""The command ``reproduce``: its words; what it does is tested where that is done."""

from argparse import ArgumentParser
from pathlib import Path

from study.workflow.arguments import add_arguments


def test_settings_and_options_may_stand_in_any_order():
    parser = ArgumentParser()
    add_arguments(parser, "reproduce_paper")
    options = parser.parse_intermixed_args(["--quick", "seed=2", "--only=search", "data.shots=1"])
    assert (options.quick, options.only, options.out) == (True, ["search"], Path("results"))
    assert options.arguments == ["seed=2", "data.shots=1"]
