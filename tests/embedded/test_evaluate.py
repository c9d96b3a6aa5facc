"""A bench measures a checkpoint; the command tabulates every comparison and records them."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from study.embedded import backbone_path
from study.protocols import Protocol
from tests.embedded import evaluate
from tests.embedded.__main__ import main
from tests.embedded.evaluate import Bench, Setting

FOLDER = Path(backbone_path("embedded"))


class QuickBench:
    """What would take minutes: every result is the learning rate itself."""

    def __init__(self, *_: object) -> None:
        pass

    def zero_shot(self) -> dict[str, float]:
        return {"all": 0.65432109, "base": 0.5}

    def mean(self, setting: Setting, *, protocol: Protocol, seeds: range) -> dict[str, float]:
        assert [*seeds] == [1, 2]
        part = {"few_shot": "accuracy", "base_to_new": "hmean"}[protocol.name]
        return {"seconds": 12.345678, part: min(setting.rates.values())}


def test_the_record_that_comes_with_the_package_has_the_same_comparisons(
    recorded: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(FOLDER, tmp_path / "checkpoint")
    monkeypatch.setattr(evaluate, "Bench", QuickBench)
    monkeypatch.setattr(sys, "argv", ["embedded", "--out", str(copy), "--evaluate", "2"])
    main()
    written = json.loads((copy / "zero_shot.json").read_text("utf-8"))
    assert written.keys() == recorded.keys()
    assert written["fingerprint"] == recorded["fingerprint"]
    assert written["zero_shot"]["digits"] == {"all": 0.6543, "base": 0.5}
    for title in written.keys() - {"fingerprint", "parameters", "zero_shot"}:
        ours, theirs = ([row["setting"] for row in r[title]["rows"]] for r in (written, recorded))
        assert ours == theirs, title


def test_zero_shot_accuracy_is_the_recorded_one(digits: Bench, recorded: dict[str, Any]) -> None:
    # A few images of 900 may fall on the other side with another build of torch.
    assert digits.zero_shot() == pytest.approx(recorded["zero_shot"]["digits"], abs=0.01)
