"""The drift of a study has a chart, a file and a table."""

import io
from pathlib import Path

import torch
from rich.console import Console

from study.report.drift_tables import drift_chart, drift_csv, render_drift, write_drift
from study.results.drift import FeatureDrift, StudyDrift, parameter_drift
from tests.results.test_drift import FC2, PRE


def test_the_chart_has_a_panel_an_encoder_and_the_pre_norm_before_the_first_layer() -> None:
    before = {FC2: torch.ones(2), PRE: torch.ones(2)}
    chart = drift_chart(parameter_drift(before, {name: 2 * t for name, t in before.items()}))
    text, vision = chart.panels
    assert (list(text.x.names or ()), list(text.series_with_marks[0].x)) == (
        ["0", "1", "2", "3"],
        [3],
    )
    assert (list(vision.x.names or ()), list(vision.series_with_marks[0].x)) == (["pre"], [0])
    assert drift_chart(()).missing_reason == "no tuned tensor"


def test_tensors_that_moved_infinitely_far_are_left_out_of_the_chart() -> None:
    before = {FC2: torch.zeros(2), FC2.replace("3", "4"): torch.ones(2)}
    chart = drift_chart(parameter_drift(before, {name: torch.ones(2) * 2 for name in before}))
    assert [list(series.x) for series in chart.panels[0].series_with_marks] == [[4]]


def test_the_file_has_a_row_for_each_tensor() -> None:
    drifts = parameter_drift({FC2: torch.tensor([3.0, 4.0])}, {FC2: torch.tensor([3.0, 5.0])})
    assert drift_csv(drifts).splitlines()[1].startswith(f"{FC2},text,3,mlp.fc2.bias,bias,1.0,")


def test_a_head_alone_is_told_without_a_table_of_layers(tmp_path: Path) -> None:
    same = FeatureDrift(1.0, 1.0)
    drift = StudyDrift((), text=same, images=same, head=FeatureDrift(-1.0, 1.0))
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render_drift(drift))
    said = console.export_text()
    assert "Rows of the head: mean cosine -1.0000, linear CKA 1.0000" in said
    assert "over layers" not in said, "no tensor of a layer moved"
    assert write_drift(tmp_path, drift)[0].read_text().strip() == ""
