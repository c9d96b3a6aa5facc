"""Each format gives the tuned answers elsewhere, by the code and the classes beside its files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from study.backbones.load_backbone import load_backbone
from study.errors import DeltaError
from study.serving.exports import FORMATS
from study.serving.exports.format import render_guide, write_classes, write_head
from tests.siglips import LENGTH, save_siglip

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
@pytest.mark.parametrize(
    "model",
    [
        pytest.param("text head", marks=pytest.mark.ci),
        pytest.param("linear head", marks=pytest.mark.ci),
        *("linear head of three classes", "ProLIP"),
    ],
)
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
    allowed = {".json", ".safetensors", ".onnx", ".data", ".txt"}
    assert suffixes <= allowed, "a pickle can run any code"


@pytest.mark.long
@pytest.mark.parametrize("name", ["hf", "onnx"])
def test_a_siglip_gives_the_tuned_answers(
    make_telling: Any, assert_tuned_answers: Any, tmp_path: Path, name: str
):
    saved = make_telling("bitfit", save_siglip(tmp_path / "siglip"))
    _, written = assert_tuned_answers(saved, name)
    assert written.notes == () or name == "onnx", "nothing is cropped"


def test_the_classes_have_prompts_and_those_of_a_head_its_rows(make_delta: Any, tmp_path: Path):
    saved = make_delta(head=(1,), templates=("a {}.", "the {}"))
    names = ("digit_nine", 'naïve 🐈‍⬛ "cat"', saved.info.class_names[1])
    model = saved.load_classifier(class_names=names)
    write_classes(tmp_path, replace(saved, info=replace(saved.info, class_names=names)), model)
    write_head(tmp_path, model)
    found = json.loads((tmp_path / "classes.json").read_text())
    assert found["class_names"] == list(names)
    assert found["prompts"][0] == ["a digit nine.", "the digit nine"]
    assert found["templates"] == ["a {}.", "the {}"]
    assert found["from_head"] == [names[2]]
    rows = load_file(tmp_path / "head.safetensors")["rows"]
    assert torch.equal(rows, model.class_features[2:])


def test_code_has_what_a_model_needs_alone(make_delta: Any, tmp_path: Path):
    saved = make_delta()
    model = saved.load_classifier()
    siglip = load_backbone(save_siglip(tmp_path / "siglip"))
    longest = f'padding="max_length", max_length={LENGTH}'
    for padded, padding in ((model, "padding=True"), (replace(model, backbone=siglip), longest)):
        code = render_guide("loading.py.jinja", saved, padded, format="hf")
        assert f'tokens = tokenizer(prompts, {padding}, return_tensors="pt")' in code
        assert "safetensors" not in code
        compile(code, "card", "exec")
