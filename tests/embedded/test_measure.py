"""A bench measures a checkpoint on a packaged dataset, zero-shot and tuned."""

from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPImageProcessor

from study.data.datasets import load_dataset
from study.embedded import backbone_path
from study.embedded.measure import Bench, Setting
from study.method.model import Backbone
from study.protocols import BaseToNew, Protocol

FOLDER = Path(backbone_path("embedded"))


def test_zero_shot_accuracy_is_the_recorded_one(digits: Bench, recorded: dict[str, Any]) -> None:
    # A few images of 900 may fall on the other side with another build of torch.
    assert digits.zero_shot() == pytest.approx(recorded["zero_shot"]["digits"], abs=0.01)


def test_text_biases_move_the_result_and_the_distillation_holds_them(digits: Bench) -> None:
    subset = "text.mlp.fc2.bias"
    free = digits.tune(Setting(subset, {"bias": 0.02}, 0), protocol=BaseToNew(), seed=1)
    held = digits.tune(Setting(subset, {"bias": 0.02}, 8), protocol=BaseToNew(), seed=1)
    untouched = digits.zero_shot()
    assert free["base"] > untouched["base"] + 0.03
    # Text features that stay near the zero-shot ones keep the accuracy on unseen classes.
    assert held["new"] > free["new"]


def test_the_image_processor_prepares_images_as_trials_do(backbone: Backbone) -> None:
    dataset = load_dataset("digits")
    processor = CLIPImageProcessor.from_pretrained(FOLDER, local_files_only=True)
    record = dataset.test[0]
    image = dataset.source.open(record.path)
    prepared = processor(images=image, return_tensors="pt")["pixel_values"][0]
    bench = Bench("digits", backbone)
    ours = bench.pixels([record])[0]
    # One grey level of 255, divided by the standard deviation.
    assert (prepared - ours).abs().max() <= 1.01 / 255 / 0.35


def test_a_setting_is_named_by_what_has_an_effect() -> None:
    assert str(Setting("ln", {"ln": 0.02}, 8)) == "ln, ln 0.02, λ 8"
    assert str(Setting("bitfit", {"bias": 0.5}, 0)) == "bitfit, bias 0.5, λ 0"
    rates = {"bias": 0.1, "ln": 0.2}
    assert str(Setting("clipfit", rates, 2.5)) == "clipfit, bias 0.1 ln 0.2, λ 2.5"


def test_a_mean_is_over_seeds_result_by_result(
    digits: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting("ln", {"ln": 0.02}, 8)

    def tune(given: Setting, *, protocol: Protocol, seed: int) -> dict[str, float]:
        assert (given, protocol.name) == (setting, "base_to_new")
        return {"seconds": seed, "base": 0.25 * seed}

    monkeypatch.setattr(digits, "tune", tune)
    mean = digits.mean(setting, protocol=BaseToNew(), seeds=range(1, 4))
    assert mean == {"seconds": 2, "base": 0.5}
