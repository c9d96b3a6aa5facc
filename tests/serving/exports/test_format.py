"""Each format has what a command and a card say of it, and gives the tuned answers elsewhere."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from study.commands.export import add_arguments
from study.errors import ConfigError
from study.serving.exports import FORMATS, find_format
from tests.siglips import save_siglip


def test_the_help_names_every_format():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    (option,) = (action for action in parser._actions if "--format" in action.option_strings)
    assert str(option.metavar).split(" | ") == list(FORMATS)
    assert all(f"{name}: " in str(option.help) for name in FORMATS)


def test_an_unknown_format_is_refused_by_name():
    with pytest.raises(ConfigError, match="--format is 'pkl'; allowed are hf"):
        find_format("pkl")


JOINT = "text.mlp.fc2.bias + vision.ln1 + vision.ln2[0:2] + text.ln_final"
"""The subset of an average of models that tune different parameters."""
MANY = ("a {}.", "the {}!", "this is {}")
MORE = {
    "hf": """\
from transformers import AutoModel, AutoProcessor
model = AutoModel.from_pretrained('.')
processor = AutoProcessor.from_pretrained('.', backend='pil')
assert (type(model).__name__, type(processor).__name__) == ('CLIPModel', 'CLIPProcessor')
""",
    "onnx": "import sys\nassert not {'torch', 'transformers'} & sys.modules.keys()\n",
    "openclip": "",
}
"""What holds in the library of a format beside its answers."""


@pytest.mark.long
@pytest.mark.parametrize(
    "name, head, templates",
    [
        ("hf", (2, 0, 7), ("a {}.",)),
        ("hf", range(10), MANY),
        ("onnx", (), MANY),
        ("onnx", (2, 0, 7), ("a {}.",)),
        ("openclip", (), MANY),
        ("openclip", range(10), MANY),
    ],
)
def test_the_library_alone_gives_the_tuned_answers(
    make_delta: Any,
    assert_tuned_answers: Any,
    name: str,
    head: Sequence[int],
    templates: Sequence[str],
):
    saved = make_delta(JOINT if len(head) == 10 else "bitfit", head, templates)
    folder, _ = assert_tuned_answers(saved, name, more=MORE[name])
    has_file = bool(head) and name != "onnx"  # whose head is in the graph
    assert (folder / "head.safetensors").exists() == has_file
    suffixes = {path.suffix for path in folder.iterdir()}
    assert suffixes <= {".json", ".safetensors", ".onnx", ".txt"}, "a pickle can run any code"


@pytest.mark.long
@pytest.mark.parametrize("name", ["hf", "onnx"])
def test_a_siglip_gives_the_tuned_answers(
    make_telling: Any, assert_tuned_answers: Any, tmp_path: Path, name: str
):
    saved = make_telling("bitfit", save_siglip(tmp_path / "siglip"))
    _, written = assert_tuned_answers(saved, name)
    assert written.limits == (), "nothing is cropped"
