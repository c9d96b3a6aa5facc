"""Other methods: their keys, and what is known of them without their weights."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from transformers import CLIPConfig

from study.backbones.description import read_architecture
from study.config.loading import build_config
from study.config.methods import (
    METHODS,
    FixedMethod,
    FullFineTuning,
    Lora,
    Method,
    Projection,
    TrainedMethod,
    TwoStage,
    method_of_delta,
)
from study.config.trial_settings import TrialSettings
from study.method.parameters import PROJECTION
from study.storage.result_folder import JsonObject


@pytest.mark.parametrize("name", METHODS)
def test_a_rate_is_searched_unless_it_is_given(name: str):
    entries: dict[str, JsonObject] = {"searched": {"method": name}, "fixed": {"method": name}}
    if issubclass(METHODS[name], TrainedMethod):
        entries["fixed"]["lr"] = 0.25
    search = build_config({"search": {"baselines": entries}}, "here").search
    assert search.other_methods.keys() >= entries.keys()
    assert all(type(search.other_methods[label]) is METHODS[name] for label in entries)
    if not issubclass(METHODS[name], TrainedMethod):
        method = {"method": name} if issubclass(METHODS[name], FixedMethod) else None
        values = {"subset": "none", "head": "linear", "method": method}
        own_head = TrialSettings.model_validate(values)
        assert search.fixed_baselines["fixed"] == search.fixed_baselines["searched"] == own_head
    else:
        assert [*search.searched_methods] == ["searched"]
        settings = search.fixed_baselines["fixed"]
        assert TrialSettings.model_validate(settings.model_dump(mode="json")) == settings
        assert settings.method
        assert settings.method.rate == 0.25


@pytest.mark.parametrize(
    "given, why",
    [
        ({"method": "full", "lr": 0.1, "dropout": 0.5}, "Extra inputs"),
        ({"method": "projection", "lr": 0.1, "distance_weight": -1}, "greater than or equal to 0"),
        ({"method": "lora", "lr": 0.1, "rank": 0}, "greater than or equal to 1"),
        ({"method": "lora"}, "one learning rate"),
        ({"method": "prefix", "lr": 0.1}, "expected one of linear, full, lora, projection"),
    ],
)
def test_a_trial_has_one_rate_and_the_keys_of_its_method(given: JsonObject, why: str):
    with pytest.raises(ValidationError, match=why):
        TrialSettings.model_validate({"subset": "none", "method": given})


@pytest.mark.parametrize(
    "method, count",
    [
        (FullFineTuning(), 149_620_736),
        # Of 12 blocks of each encoder, two projections, two factors of rank 4.
        (Lora(rank=4), 12 * 2 * 2 * 4 * (512 + 768)),
        (Projection(), 768 * 512),
        (TwoStage(), (24 * 768 + 2 * 768) * 2 + (24 * 512 + 512) * 2),
    ],
)
def test_a_vit_b16_has_as_many_parameters_as_are_published(
    tmp_path: Path, method: Method, count: int
):
    CLIPConfig(vision_config={"patch_size": 16}).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert method.count(read_architecture(tmp_path)) == count


def test_a_delta_is_known_by_its_tensors():
    assert method_of_delta([PROJECTION]) == "projection"
    assert method_of_delta([PROJECTION, "vision_model.post_layernorm.bias"]) is None
    assert method_of_delta([]) is None
