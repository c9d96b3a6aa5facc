"""Drift is measured as defined, on tensors whose change is known."""

from pathlib import Path

import pytest
import torch

from study.errors import DataError
from study.results.drift import feature_drift, parameter_drift, study_drift
from study.results.study_result import read_study_result
from tests.example_studies import ExampleStudy
from tests.not_none import not_none
from tests.results.conftest import save_moved

FC2 = "text_model.encoder.layers.3.mlp.fc2.bias"
PRE = "vision_model.pre_layrnorm.weight"


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("study.results.drift.MOST_IMAGES", 64)


def test_the_relative_change_is_of_l2_norms_averaged_over_the_runs_that_tuned_a_tensor():
    before = {FC2: torch.tensor([3.0, 4.0]), PRE: torch.ones(2), "not tuned": torch.ones(1)}
    runs = [{FC2: torch.tensor([3.0, 5.0])}, {FC2: torch.tensor([3.0, 7.0]), PRE: torch.ones(2)}]
    fc2, pre = parameter_drift(before, runs)
    assert (fc2.moved, fc2.size, fc2.relative) == pytest.approx((2.0, 5.0, 0.4))
    assert (fc2.name, fc2.encoder, fc2.layer) == (FC2, "text", 3)
    assert (fc2.site, fc2.kind) == ("mlp.fc2.bias", "bias")
    assert (pre.layer, pre.site, pre.kind, pre.relative) == (None, "ln_pre.weight", "ln", 0.0)


def test_cka_is_that_of_the_centred_gram_matrices_and_cosine_the_mean_over_rows():
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    second = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    centre = torch.eye(30, dtype=torch.float64) - 1 / 30
    one, two = (centre @ (x @ x.T) @ centre for x in (first, second))
    known = (one * two).sum() / (one.norm() * two.norm())
    drift = feature_drift(first, second)
    assert drift.cka == pytest.approx(known.item())
    cosine = torch.nn.functional.cosine_similarity(first, second).mean()
    assert drift.cosine == pytest.approx(cosine.item())


def test_the_best_ones_seeds_are_measured_or_those_of_the_best_with_a_delta(tuned_study: Path):
    drift = study_drift(read_study_result(tuned_study))
    assert [tensor.relative for tensor in drift.tensors] == pytest.approx([0.3], rel=1e-5)
    assert 0 < drift.text.cosine < 1
    # The image encoder was not tuned.
    assert (not_none(drift.images).cosine, not_none(drift.images).cka) == pytest.approx((1.0, 1.0))
    ExampleStudy(tuned_study).add_candidate(
        "best-with-delta", -0.01, val_score=0.7, subset="vision.ln"
    )
    for seed in range(1, 6):
        place = tuned_study / f"trials/test-best-seed{seed}/delta.safetensors"
        place.rename(tuned_study / f"trials/test-best-with-delta-seed{seed}/{place.name}")
    assert study_drift(read_study_result(tuned_study)).tensors == drift.tensors
    ExampleStudy(tuned_study).drop("test-*")
    with pytest.raises(DataError, match="no best configuration"):
        study_drift(read_study_result(tuned_study))


def test_features_move_with_their_own_encoder_and_images_may_be_gone(
    few_shot_study: Path, caplog: pytest.LogCaptureFixture
):
    save_moved(few_shot_study, "best-seed2", "vision_model.post_layernorm.bias", by=0.2)
    drift = study_drift(read_study_result(few_shot_study))
    assert (drift.text.cosine, drift.text.cka) == pytest.approx((1.0, 1.0))
    assert not_none(drift.images).cosine < 0.9999
    ExampleStudy(few_shot_study).configure("data.dataset=gone", "data.root=gone")
    save_moved(few_shot_study, "best-seed1", "text_model.final_layer_norm.bias", by=1.0)
    drift = study_drift(read_study_result(few_shot_study))
    assert drift.images is None
    assert drift.text.cosine < 1
    assert "image features are not compared" in caplog.text
