"""A bench measures a checkpoint; the command tabulates every comparison and records them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPImageProcessor

from study.backbones.backbone import Backbone
from study.data.datasets import load_dataset
from study.embedded import backbone_path
from study.protocols import Protocol
from tests.embedded import evaluate
from tests.embedded.__main__ import main
from tests.embedded.evaluate import Bench, Setting

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


def test_the_record_that_comes_with_the_package_has_the_same_comparisons(
    written: dict[str, Any], recorded: dict[str, Any]
) -> None:
    assert written.keys() == recorded.keys()
    for title in written.keys() - {"fingerprint", "parameters", "zero_shot"}:
        ours, theirs = ([row["setting"] for row in r[title]["rows"]] for r in (written, recorded))
        assert ours == theirs, title


def test_zero_shot_accuracy_is_the_recorded_one(digits: Bench, recorded: dict[str, Any]) -> None:
    # A few images of 900 may fall on the other side with another build of torch.
    assert digits.zero_shot() == pytest.approx(recorded["zero_shot"]["digits"], abs=0.01)


def test_the_image_processor_prepares_images_as_trials_do(backbone: Backbone) -> None:
    dataset = load_dataset("digits")
    processor = CLIPImageProcessor.from_pretrained(FOLDER, local_files_only=True)
    record = dataset.test[0]
    image = dataset.source.open_image(record.path)
    prepared = processor(images=image, return_tensors="pt")["pixel_values"][0]
    bench = Bench("digits", backbone)
    ours = bench.pixels([record])[0]
    # One grey level of 255, divided by the standard deviation.
    assert (prepared - ours).abs().max() <= 1.01 / 255 / 0.35
