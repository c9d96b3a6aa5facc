"""Drift is measured as defined, on tensors whose change is known."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from study.analysis.drift import (
    drift_chart,
    feature_drift,
    mean_drift,
    parameter_drift,
    pooled_drift,
    render_drift,
    study_drift,
    to_csv,
    write_drift,
)
from study.analysis.results import read_results
from study.config.loading import dump_config, load_config
from study.embedded import backbone_path
from study.errors import DataError, DeltaError
from study.method.delta import load_delta, save_delta
from tests.analysis.conftest import add_candidate

FC2 = "text_model.encoder.layers.3.mlp.fc2.bias"
PRE = "vision_model.pre_layrnorm.weight"


def test_relative_change_is_of_the_l2_norms() -> None:
    before = {FC2: torch.tensor([3.0, 4.0]), "not tuned": torch.ones(1)}
    (drift,) = parameter_drift(before, {FC2: torch.tensor([3.0, 5.0])})
    assert (drift.moved, drift.size, drift.relative) == pytest.approx((1.0, 5.0, 0.2))
    assert (drift.encoder, drift.layer, drift.site, drift.kind) == (
        "text",
        3,
        "mlp.fc2.bias",
        "bias",
    )


def test_norms_outside_the_blocks_have_no_layer() -> None:
    (drift,) = parameter_drift({PRE: torch.ones(2)}, {PRE: torch.ones(2)})
    assert (drift.layer, drift.site, drift.kind, drift.relative) == (
        None,
        "ln_pre.weight",
        "ln",
        0.0,
    )


def test_a_tensor_that_was_zero_moved_infinitely_far() -> None:
    (drift,) = parameter_drift({FC2: torch.zeros(2)}, {FC2: torch.ones(2)})
    assert drift.relative == math.inf


@pytest.mark.parametrize(
    ("before", "message"),
    [({}, "not in the backbone"), ({FC2: torch.ones(3)}, "has shape")],
)
def test_a_delta_of_another_model_is_refused(before: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(DeltaError, match=message):
        parameter_drift(before, {FC2: torch.ones(2)})


def test_groups_are_pooled_as_one_long_vector() -> None:
    other = FC2.replace("3", "4")
    before = {FC2: torch.tensor([3.0, 4.0]), other: torch.tensor([0.0, 12.0])}
    after = {FC2: torch.tensor([3.0, 7.0]), other: torch.tensor([4.0, 12.0])}
    drifts = parameter_drift(before, after)
    pooled = pooled_drift(drifts, lambda drift: drift.kind)
    whole = (
        torch.cat([after[n] - before[n] for n in before]).norm()
        / torch.cat([before[n] for n in before]).norm()
    )
    assert pooled == {"bias": pytest.approx(whole.item())}


def test_runs_are_averaged_tensor_by_tensor() -> None:
    before = {FC2: torch.tensor([3.0, 4.0]), PRE: torch.ones(1)}
    runs = [
        parameter_drift(before, {FC2: torch.tensor([3.0, 5.0])}),
        parameter_drift(before, {FC2: torch.tensor([3.0, 7.0]), PRE: torch.ones(1)}),
    ]
    fc2, pre = mean_drift(runs)
    assert fc2.moved == pytest.approx(2.0)
    assert pre.moved == 0.0


def test_equal_features_do_not_drift() -> None:
    features = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    drift = feature_drift(features, features)
    assert (drift.cosine, drift.cka) == pytest.approx((1.0, 1.0))


def test_cka_overlooks_rotation_and_scale_where_cosine_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))
    drift = feature_drift(features, 3 * features @ rotation)
    assert drift.cka == pytest.approx(1.0)
    assert drift.cosine < 0.9


def test_cka_is_that_of_the_centred_gram_matrices() -> None:
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    second = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    centre = torch.eye(30, dtype=torch.float64) - 1 / 30
    one, two = (centre @ (x @ x.T) @ centre for x in (first, second))
    known = (one * two).sum() / (one.norm() * two.norm())
    assert feature_drift(first, second).cka == pytest.approx(known.item())


def test_features_of_other_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        feature_drift(torch.ones(3, 2), torch.ones(4, 2))


def test_the_winners_seeds_are_measured_against_the_embedded_backbone(tuned_study: Path) -> None:
    drift = study_drift(read_results(tuned_study))
    assert [tensor.relative for tensor in drift.tensors] == pytest.approx([0.3], rel=1e-5)
    assert 0 < drift.text.cosine < 1
    # The image encoder was not tuned.
    assert drift.images is not None
    assert (drift.images.cosine, drift.images.cka) == pytest.approx((1.0, 1.0))
    path = tuned_study / "trials/confirm-best-seed5/delta.safetensors"
    tensors, info = load_delta(path)
    save_delta(path, tensors, replace(info, fingerprint="other"))
    with pytest.raises(DeltaError, match="another backbone"):
        study_drift(read_results(tuned_study))


def test_of_a_winner_without_a_delta_the_best_that_has_one_is_measured(tuned_study: Path) -> None:
    expected = study_drift(read_results(tuned_study)).tensors
    add_candidate(tuned_study, "best-with-delta", -0.01, val_score=0.7, subset="vision.ln")
    for seed in range(1, 6):
        place = tuned_study / f"trials/confirm-best-seed{seed}/delta.safetensors"
        place.rename(tuned_study / f"trials/confirm-best-with-delta-seed{seed}/{place.name}")
    assert study_drift(read_results(tuned_study)).tensors == expected


def test_a_trial_without_tuned_parameters_is_named(few_shot_study: Path) -> None:
    with pytest.raises(DataError, match="confirm-best-seed1"):
        study_drift(read_results(few_shot_study))


def test_before_the_confirm_stage_trials_must_be_named(few_shot_study: Path) -> None:
    (few_shot_study / "candidates.json").write_text(json.dumps([]))
    for path in (few_shot_study / "trials").glob("confirm-*/*"):
        path.unlink()
    with pytest.raises(DataError, match="--trial"):
        study_drift(read_results(few_shot_study))


def test_a_tuned_image_encoder_turns_images_and_leaves_class_names(few_shot_study: Path) -> None:
    from study.method.backbone import load_backbone
    from study.method.delta import DeltaInfo, save_delta

    backbone = load_backbone(backbone_path("embedded"))
    name = "vision_model.post_layernorm.bias"
    moved = dict(backbone.clip.named_parameters())[name].detach() + 0.2
    names = tuple("abc")
    info = DeltaInfo(
        "embedded", None, backbone.fingerprint, "vision.ln_post.bias", names, ("a {}.",)
    )
    save_delta(few_shot_study / "trials/confirm-best-seed2/delta.safetensors", {name: moved}, info)
    drift = study_drift(read_results(few_shot_study), ["confirm-best-seed2"])
    assert (drift.text.cosine, drift.text.cka) == pytest.approx((1.0, 1.0))
    assert drift.images is not None
    assert drift.images.cosine < 0.9999


def test_a_head_is_measured_from_the_text_features_where_it_began(
    few_shot_study: Path, tmp_path: Path
) -> None:
    from study.method.backbone import load_backbone
    from study.method.delta import DeltaInfo, head_tensors
    from study.method.head import Head

    backbone = load_backbone(backbone_path("embedded"))
    names = tuple("abcd")
    info = DeltaInfo("embedded", None, backbone.fingerprint, "none", names, ("a {}.",))
    tokens = backbone.tokenize([f"a {name}." for name in names])
    with torch.no_grad():
        text = backbone.clip.get_text_features(tokens).pooler_output
    text = torch.nn.functional.normalize(text, dim=-1)
    results = read_results(few_shot_study)
    for sign in (1, -1):
        tensors = head_tensors(Head(sign * text[[2, 0, 1]], (2, 0, 1)))
        save_delta(few_shot_study / "trials/confirm-best-seed1/delta.safetensors", tensors, info)
        drift = study_drift(results, ["confirm-best-seed1"])
        assert drift.tensors == ()
        assert drift.head is not None
        assert (drift.head.cosine, drift.head.cka) == pytest.approx((sign, 1.0), abs=1e-5)
        assert (drift.text.cosine, drift.text.cka) == pytest.approx((1.0, 1.0))
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render_drift(drift))
    said = console.export_text()
    assert "Rows of the head: mean cosine -1.0000, linear CKA 1.0000" in said
    assert "over layers" not in said, "no tensor of a layer moved"
    assert write_drift(tmp_path, drift)[0].read_text().strip() == ""


def test_images_that_are_gone_leave_the_rest_to_be_told(
    few_shot_study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from study.method.backbone import load_backbone
    from study.method.delta import DeltaInfo, save_delta

    config = few_shot_study / "study.yaml"
    gone = load_config(config, ["data.dataset=gone", "data.root=gone"])
    config.write_text(dump_config(gone))
    backbone = load_backbone(backbone_path("embedded"))
    name = "text_model.final_layer_norm.bias"
    moved = {name: dict(backbone.clip.named_parameters())[name].detach() + 1}
    info = DeltaInfo(
        "embedded", None, backbone.fingerprint, "text.ln_final", tuple("abc"), ("a {}.",)
    )
    save_delta(few_shot_study / "trials/confirm-best-seed1/delta.safetensors", moved, info)
    drift = study_drift(read_results(few_shot_study), ["confirm-best-seed1"])
    assert drift.images is None
    assert drift.text.cosine < 1
    assert "the features of images are not compared" in caplog.text


def test_the_chart_has_a_panel_an_encoder_and_the_pre_norm_before_the_first_layer() -> None:
    before = {FC2: torch.ones(2), PRE: torch.ones(2)}
    chart = drift_chart(parameter_drift(before, {name: 2 * t for name, t in before.items()}))
    text, vision = chart.panels
    assert (list(text.x.names or ()), list(text.shown[0].x)) == (["0", "1", "2", "3"], [3])
    assert (list(vision.x.names or ()), list(vision.shown[0].x)) == (["pre"], [0])
    assert drift_chart(()).missing == "no tuned tensor"


def test_the_csv_has_a_row_a_tensor() -> None:
    drifts = parameter_drift({FC2: torch.ones(2)}, {FC2: torch.ones(2)})
    assert to_csv(drifts).splitlines()[1].startswith(f"{FC2},text,3,mlp.fc2.bias,bias,0.0,")


def test_tensors_that_moved_infinitely_far_are_left_out_of_the_chart() -> None:
    before = {FC2: torch.zeros(2), FC2.replace("3", "4"): torch.ones(2)}
    chart = drift_chart(parameter_drift(before, {name: torch.ones(2) * 2 for name in before}))
    assert [list(series.x) for series in chart.panels[0].shown] == [[4]]
