"""Frozen weights held in bfloat16: half the bytes, and the training that float32 has."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from study.backbones.backbone import Backbone, fingerprint
from study.backbones.load_backbone import load_backbone
from study.errors import SubsetError
from study.method import precision
from study.method.full_tuning import FullClassifier
from study.method.lora import LoraClassifier
from study.method.precision import cast_matrices, choose_precision
from tests.siglips import save_siglip
from tests.staged_case import Case, distance


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_features_and_gradients_stay_those_of_float32(
    backbone: Backbone, family: str, tmp_path: Path
):
    """As near as autocast alone is, in the plain pass and in the staged one."""
    if family == "siglip":
        backbone = load_backbone(save_siglip(tmp_path / "siglip"))
    cast_matrices(backbone.clip, "float32")
    assert fingerprint(backbone.clip) == backbone.fingerprint
    exact = Case(backbone, "bitfit", 0, torch.float32)
    features = exact.plain()
    expected = exact.gradients(features)
    case = Case(backbone, "bitfit", 0, torch.float32, "bfloat16")
    off_by_cast = distance(case.plain()[1], features[1])
    cast_matrices(case.classifier.clip, "bfloat16")
    for parameter in case.classifier.clip.parameters():
        assert parameter.dtype == (torch.bfloat16 if parameter.dim() >= 2 else torch.float32)
    for found in (case.plain(), case.staged()):
        for mine, other in zip(found, features, strict=True):
            assert mine.dtype == torch.float32
            assert 0 < distance(mine, other) < max(3 * off_by_cast, 0.02)
        for name, gradient in case.gradients(found).items():
            assert gradient.dtype == torch.float32
            cosine = F.cosine_similarity(gradient.flatten(), expected[name].flatten(), dim=0)
            assert cosine > 0.98, name


def test_bfloat16_weights_refuse_full_fine_tuning_but_not_lora(backbone: Backbone):
    cast_matrices(backbone.clip, "bfloat16")
    with pytest.raises(SubsetError, match=r"is torch\.bfloat16, which rounds small steps"):
        FullClassifier(backbone, precision="bfloat16")
    generator = torch.Generator().manual_seed(0)
    lora = LoraClassifier(backbone, rank=2, alpha=4.0, generator=generator, precision="bfloat16")
    assert {one.parameter.dtype for one in lora.tuned} == {torch.float32}


@pytest.mark.parametrize(
    "device, capability, ratio, found",
    [
        ("cpu", (0, 0), 2.0, "bfloat16"),
        ("cpu", (0, 0), 1.2, "float32"),
        ("cuda", (8, 0), 0.0, "bfloat16"),
        ("cuda", (7, 5), 9.9, "float32"),
        ("mps", (8, 0), 9.9, "float32"),
    ],
)
def test_bfloat16_is_chosen_where_it_is_fast(
    device: str,
    capability: tuple[int, int],
    ratio: float,
    found: str,
    monkeypatch: pytest.MonkeyPatch,
):
    speeds = {torch.bfloat16: ratio, torch.float32: 1.0}
    monkeypatch.setattr(precision, "measure_products_per_second", speeds.__getitem__)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert choose_precision(torch.device(device)) == found


@pytest.mark.parametrize("readings, products", [([0.0, 0.04, 0.08, 0.16], 2), ([0.0, 1.0, 2.0], 1)])
def test_products_are_counted_until_their_time_is_over_but_one_at_least(
    readings: list[float], products: int, monkeypatch: pytest.MonkeyPatch
):
    """By a clock that moves when it is read, so that no machine is too slow."""
    clock = iter(readings)
    monkeypatch.setattr("time.process_time", lambda: next(clock))
    speed = precision.measure_products_per_second(torch.float32)
    assert speed == pytest.approx(products / readings[-1])
