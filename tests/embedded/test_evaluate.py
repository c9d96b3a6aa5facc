"""A bench measures a checkpoint; the command tabulates every comparison and records them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from embedded import evaluate
from embedded.__main__ import main
from embedded.evaluate import Bench, Setting
from transformers import CLIPImageProcessor

from study.data.datasets import load_dataset
from study.embedded import backbone_path
from study.method.backbone import Backbone, load_backbone
from study.protocols import BaseToNew, Protocol

FOLDER = Path(backbone_path("embedded"))


class QuickBench:
    """What would take minutes: every result is the learning rate itself."""

    def __init__(self, dataset: str, backbone: object) -> None:
        self.dataset = dataset

    def zero_shot(self) -> dict[str, float]:
        return {"all": 0.65432109, "base": 0.5}

    def mean(self, setting: Setting, *, protocol: Protocol, seeds: range) -> dict[str, float]:
        assert list(seeds) == [1, 2]
        part = {"few_shot": "accuracy", "base_to_new": "hmean"}[protocol.name]
        return {"seconds": 12.345678, part: next(iter(setting.rates.values()), 0.0)}


@pytest.fixture
def written(tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The record that the command leaves in the folder of a checkpoint."""
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    for file in tiny_backbone.iterdir():
        (copy / file.name).symlink_to(file)
    monkeypatch.setattr(evaluate, "Bench", QuickBench)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["embedded", "--out", str(copy), "--evaluate", "2"])
    main()
    record: dict[str, Any] = json.loads((copy / "zero_shot.json").read_text("utf-8"))
    return record


def test_the_record_names_the_weights_and_has_every_result_in_four_digits(
    written: dict[str, Any], tiny_backbone: Path
) -> None:
    backbone = load_backbone(tiny_backbone)
    assert written["fingerprint"] == backbone.fingerprint
    assert written["parameters"] == sum(p.numel() for p in backbone.clip.parameters())
    assert written["zero_shot"] == {
        name: {"all": 0.6543, "base": 0.5} for name in ("digits", "glyphs")
    }
    rates = written["clipfit_by_learning_rate"]
    assert (rates["dataset"], rates["protocol"], rates["seeds"]) == ("digits", "few_shot", 2)
    assert [row["accuracy"] for row in rates["rows"]] == list(evaluate.RATES)
    assert {row["seconds"] for row in rates["rows"]} == {12.3457}


def test_each_comparison_is_printed_as_a_table_in_percent(
    capsys: pytest.CaptureFixture[str], written: dict[str, Any]
) -> None:
    printed = capsys.readouterr().out
    assert "zero-shot, digits" in printed
    assert "65.4 %" in printed
    for title, block in written.items():
        for row in block.get("rows", ()) if isinstance(block, dict) else ():
            assert row["setting"] in printed, title
    assert "12.3 " in printed, "seconds are no percentages"


def test_the_record_that_comes_with_the_package_has_the_same_comparisons(
    written: dict[str, Any], recorded: dict[str, Any]
) -> None:
    assert written.keys() == recorded.keys()
    for title in written.keys() - {"fingerprint", "parameters", "zero_shot"}:
        ours, theirs = ([row["setting"] for row in r[title]["rows"]] for r in (written, recorded))
        assert ours == theirs, title


def test_the_help_of_the_command_is_there_without_torch() -> None:
    code = (
        "import sys; from embedded.__main__ import main; sys.argv = ['embedded', '--help']\n"
        "try: main()\n"
        "finally: assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    tests = str(Path(__file__).parents[1])
    paths = os.pathsep.join([tests, *sys.path])
    said = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert "--evaluate" in said.stdout


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
