"""The file of classes beside an export, and the code that reads it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from study.backbones.load_backbone import load_backbone
from study.method.delta import load_delta, read_head
from study.serving.classifier import load_classifier
from study.serving.exports.classes import render_guide, write_classes, write_head
from tests.not_none import not_none
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


def test_the_rows_of_a_head_stand_in_a_file_by_the_names_of_their_classes(
    headed: Path, checkpoint: Path, tmp_path: Path
):
    tensors, info = load_delta(headed)
    head = not_none(read_head(tensors, info))
    write_head(tmp_path, load_classifier(headed, backbone=str(checkpoint)))
    with safe_open(tmp_path / "head.safetensors", "pt") as opened:
        rows, names = opened.get_tensor("rows"), json.loads(opened.metadata()["class_names"])
    assert sorted(names) == ["bird", "cat"]
    assert torch.equal(
        rows, head.rows[[head.classes.index(info.class_names.index(name)) for name in names]]
    )


def test_code_names_what_it_needs_alone(make_delta: Any):
    plain = make_delta()
    code = render_guide("loading.py.jinja", plain, plain.load_classifier(), format="hf")
    assert re.findall(r"^from \S+", code, re.M) == [
        "from PIL",
        "from torch.nn.functional",
        "from transformers",
    ]
    assert not re.search("safetensors|unflatten", code)
    compile(code, "card", "exec")


def test_prompts_are_padded_as_the_text_encoder_was_trained(make_delta: Any, tmp_path: Path):
    saved = make_delta()
    model = saved.load_classifier()
    siglip = load_backbone(save_siglip(tmp_path / "siglip"))
    longest = f'padding="max_length", max_length={LENGTH}'
    for padded, padding in (
        (model, "padding=True"),
        (model._replace(backbone=siglip), longest),
    ):
        code = render_guide("loading.py.jinja", saved, padded, format="hf")
        assert f'tokens = tokenizer(prompts, {padding}, return_tensors="pt")' in code
