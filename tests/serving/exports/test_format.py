"""Each format has what a command and a card say of it, and gives the tuned answers elsewhere."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from study.commands.export import add_arguments
from study.errors import ConfigError, DeltaError
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


MANY = ("a {}.", "the {}!", "this is {}")
MORE = {
    "hf": """\
from transformers import AutoModel, AutoProcessor
model = AutoModel.from_pretrained('.')
processor = AutoProcessor.from_pretrained('.', backend='pil')
assert (type(model).__name__, type(processor).__name__) == ('CLIPModel', 'CLIPProcessor')
""",
    "onnx": "import sys\nassert not {'torch', 'transformers'} & sys.modules.keys()\n",
}
"""What holds in the library of a format beside its answers."""


MODELS: dict[str, dict[str, Any]] = {
    "text head": {"subset": "clipfit", "templates": MANY},
    "linear head": {"subset": "bitfit", "head": range(10)},
    "linear head of three classes": {"subset": "bitfit", "head": (2, 0, 7), "templates": MANY},
    "ProLIP": {"subset": "none", "projection": True},
}
"""Arguments of `make_delta`."""


@pytest.mark.long
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_each_format_gives_the_labels_of_this_package(
    make_delta: Any, assert_tuned_answers: Any, exported: Any, model: str, name: str
):
    saved = make_delta(**MODELS[model])
    if (model, name) == ("ProLIP", "peft"):
        with pytest.raises(DeltaError, match="for which PEFT has no adapter"):
            exported(saved, name)
        return
    folder, _ = assert_tuned_answers(saved, name, more=MORE.get(name, ""))
    has_file = "head" in MODELS[model] and name != "onnx"  # whose head is in the graph
    assert (folder / "head.safetensors").exists() == has_file
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".onnx", ".txt"}, "a pickle can run any code"


@pytest.mark.long
@pytest.mark.parametrize("name", ["hf", "onnx"])
def test_a_siglip_gives_the_tuned_answers(
    make_telling: Any, assert_tuned_answers: Any, tmp_path: Path, name: str
):
    saved = make_telling("bitfit", save_siglip(tmp_path / "siglip"))
    _, written = assert_tuned_answers(saved, name)
    assert written.limits == (), "nothing is cropped"
