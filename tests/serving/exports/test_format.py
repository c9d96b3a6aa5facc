"""Each format has what a command and a card say of it."""

import argparse
import subprocess
import sys

import pytest

from study.commands import COMMANDS
from study.errors import ConfigError
from study.serving.exports import FORMATS, find_format


def test_the_help_names_every_format() -> None:
    parser = argparse.ArgumentParser()
    COMMANDS["export"].load().add_arguments(parser)
    (option,) = (action for action in parser._actions if "--format" in action.option_strings)
    assert str(option.metavar).split(" | ") == list(FORMATS)
    for name in FORMATS:
        assert f"{name}: " in str(option.help)


def test_an_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="--format is 'pkl'; allowed are hf"):
        find_format("pkl")


def test_no_format_imports_its_library_before_it_is_asked_for() -> None:
    libraries = ("transformers", "peft", "onnx", "onnxscript", "onnxruntime")
    code = (
        "import sys, study.serving.exports\n"
        f"print([name for name in {libraries!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
