"""The drift of a study has a chart, a file and a table."""

import csv
import io
from pathlib import Path

import torch
from rich.console import Console

from study.report.drift_tables import drift_chart, drift_csv, render_drift, write_drift
from study.results.drift import FeatureDrift, StudyDrift, parameter_drift
from tests.results.test_drift import FC2, PRE


def test_what_moved_is_drawn_and_what_was_zero_is_written_alone():
    infinite = FC2.replace("3", "4")
    before = {FC2: torch.ones(2), PRE: torch.full((2,), 4.0), infinite: torch.zeros(2)}
    drifts = parameter_drift(before, dict.fromkeys(before, torch.full((2,), 2.0)))
    rows = csv.DictReader(io.StringIO(drift_csv(drifts)))
    found = {row["name"]: float(row["relative"]) for row in rows}
    assert found == {FC2: 1.0, PRE: 0.5, infinite: float("inf")}
    text, vision = drift_chart(drifts).figure.axes
    assert [line.get_ydata()[0] for axes in (text, vision) for line in axes.lines] == [1.0, 0.5]
    assert [tick.get_text() for tick in vision.get_xticklabels()] == ["pre"]
    assert drift_chart(()).missing_reason


def test_features_are_told_where_no_tensor_of_a_layer_moved(tmp_path: Path):
    drift = StudyDrift((), text=FeatureDrift(-1.0, 1.0))
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render_drift(drift))
    said = console.export_text()
    assert "mean cosine -1.0000, linear CKA 1.0000" in said
    assert "over layers" not in said
    assert write_drift(tmp_path, drift)[0].read_text().strip() == ""
