"""The file of classes beside an export, and the code that reads it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.serving.exports.classes import (
    classification_code,
    import_lines,
    padding_arguments,
    transformers_encoding,
    write_classes,
)
from tests.siglips import LENGTH, save_siglip


def test_the_file_has_names_and_the_prompts_of_each(make_delta: Any, tmp_path: Path):
    saved = make_delta(head=(1,), templates=("a {}.", "the {}"))
    names = ("digit_one", 'naïve 🐈‍⬛ "cat"')
    saved = replace(saved, info=replace(saved.info, class_names=names))
    write_classes(tmp_path, saved, saved.load_classifier())
    found = json.loads((tmp_path / "classes.json").read_text())
    assert found["class_names"] == list(names)
    assert found["prompts"][0] == ["a digit one.", "the digit one"]
    assert found["templates"] == ["a {}.", "the {}"]
    assert found["from_head"] == []


def test_code_names_what_it_needs_alone(make_delta: Any):
    plain = make_delta()
    model = plain.load_classifier()
    code = import_lines(model, "from transformers import AutoModel")
    assert re.findall(r"^from \S+", code, re.M) == [
        "from PIL",
        "from torch.nn.functional",
        "from transformers",
    ]
    code += classification_code(plain, model, transformers_encoding(model.backbone))
    assert not re.search("safetensors|unflatten", code)
    compile(code, "card", "exec")


def test_prompts_are_padded_as_the_text_encoder_was_trained(embedded: Backbone, tmp_path: Path):
    assert padding_arguments(embedded) == "padding=True"
    siglip = load_backbone(save_siglip(tmp_path / "siglip"))
    assert padding_arguments(siglip) == f'padding="max_length", max_length={LENGTH}'
