"""Adapters of PEFT make the untouched backbone the tuned model, elsewhere."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import nn

from study.backbones.backbone import Backbone
from study.errors import ConfigError, DeltaError
from study.method.lora import import_peft
from study.method.parameters import PROJECTION
from study.serving.exports.format import render_guide
from study.serving.exports.peft import find_tuned_modules, import_peft_with_beft
from tests.openclips import write_open_clip
from tests.siglips import save_siglip


@pytest.mark.long
def test_a_single_kind_of_adapter_makes_the_untouched_backbone_the_tuned_model(
    make_delta: Any, make_telling: Any, assert_tuned_answers: Any, tmp_path: Path
):
    saved = make_delta("vision.ln1.weight[0:1] + vision.ln_post")
    folder, _ = assert_tuned_answers(saved, "peft")
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"layernorms", "backbone"}
    rmtree(folder)
    write_open_clip(tmp_path / "own", {})  # which is copied in the form of transformers
    assert_tuned_answers(make_telling("clipfit", tmp_path / "own"), "peft")


def test_an_adapter_holds_what_is_tuned_alone(make_delta: Any, exported: Any):
    folder, _ = exported(make_delta("text.mlp.fc2.bias + vision.ln_post"), "peft")
    tensors = {}
    assert (folder / "backbone").is_dir(), "this package's CLIP is not on the hub"
    for name in ("biases", "layernorms"):
        files = {path.name for path in (folder / name).iterdir()}
        assert files == {"adapter_config.json", "adapter_model.safetensors"}
        config = json.loads((folder / name / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "embedded"
        assert "/" not in json.dumps(config), "no place of this machine"
        tensors[name] = load_file(folder / name / "adapter_model.safetensors").keys()
    assert all(".mlp.fc2.beft_bias" in tensor for tensor in tensors["biases"])
    assert len(tensors["layernorms"]) == 2


def test_what_no_adapter_can_hold_is_refused(make_delta: Any, exported: Any, embedded: Backbone):
    with pytest.raises(DeltaError, match="nothing of the backbone is tuned"):
        exported(make_delta("none", head=(1, 2)), "peft")
    with pytest.raises(DeltaError, match=rf"{PROJECTION} \(of Linear\) is tuned, .* --format hf"):
        find_tuned_modules(embedded.clip, [PROJECTION])
    attention = nn.ModuleDict({"attn": nn.MultiheadAttention(4, 2)})
    with pytest.raises(DeltaError, match=r"attn\.in_proj_bias \(of MultiheadAttention\) is tuned"):
        find_tuned_modules(attention, ["attn.in_proj_bias"])


def test_a_backbone_of_the_hub_is_named(make_delta: Any):
    saved = make_delta()
    name = "openai/clip-vit-base-patch32"
    named = replace(saved, info=replace(saved.info, backbone=name, revision="abc"))
    options: dict[str, Any] = {"format": "peft", "adapters": ["biases"], "copied": False}
    loading = render_guide("loading.py.jinja", named, saved.load_classifier(), **options)
    assert f'from_pretrained("{name}", revision="abc", dtype=torch.float32)' in loading


def test_a_peft_that_is_missing_or_too_old_is_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr("peft.BeftConfig")
    with pytest.raises(ConfigError, match=r"PEFT .* has not: pip install 'clipfit-study\[peft\]'"):
        import_peft_with_beft()
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"the format peft needs .*clipfit-study\[peft\]"):
        import_peft_with_beft()
    with pytest.raises(ConfigError, match=r"LoRA needs .*clipfit-study\[lora\]"):
        import_peft()


@pytest.mark.long
def test_a_siglip_has_adapters_but_for_its_pool(
    make_delta: Any, make_telling: Any, exported: Any, assert_tuned_answers: Any, tmp_path: Path
):
    place = save_siglip(tmp_path / "siglip")
    with pytest.raises(DeltaError, match=r"in_proj_bias\.original0 .* PEFT has no adapter"):
        exported(make_delta("vision.pool.q.bias", folder=place), "peft")
    rmtree(tmp_path / "peft")
    saved = make_telling("bitfit - vision.pool.q.bias - vision.pool.v.bias", place)
    _, written = assert_tuned_answers(saved, "peft")
    assert str(tmp_path) not in "".join([written.loading, *written.notes])
