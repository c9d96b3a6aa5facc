"""Drift is drawn by layer, written a row a tensor, and printed."""

import torch

from study.analysis.drift import parameter_drift
from study.analysis.drift_output import drift_chart, to_csv

FC2 = "text_model.encoder.layers.3.mlp.fc2.bias"
PRE = "vision_model.pre_layrnorm.weight"


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
