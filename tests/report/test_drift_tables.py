"""The drift of a study has a chart, a file and a table."""

import io
from pathlib import Path

import torch
from rich.console import Console

from study.report.drift_tables import drift_chart, drift_csv, render_drift, write_drift
from study.results.drift import FeatureDrift, StudyDrift, parameter_drift
from tests.report.conftest import AsKept, rounded
from tests.report.test_plots import text_of
from tests.results.test_drift import FC2, PRE


def test_the_chart_and_the_file_of_tensors_are_what_was_kept(as_kept: AsKept):
    infinite = FC2.replace("3", "4")
    before = {FC2: torch.ones(2), PRE: torch.ones(2), infinite: torch.zeros(2)}
    drifts = parameter_drift(before, dict.fromkeys(before, torch.full((2,), 2.0)))
    as_kept("drift", f"{text_of(drift_chart(drifts))}\n{rounded(drift_csv(drifts))}")
    assert drift_chart(()).missing_reason == "no tuned tensor"


def test_a_head_alone_is_told_without_a_table_of_layers(tmp_path: Path):
    same = FeatureDrift(1.0, 1.0)
    drift = StudyDrift((), text=same, images=same, head=FeatureDrift(-1.0, 1.0))
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render_drift(drift))
    said = console.export_text()
    assert "Rows of the head: mean cosine -1.0000, linear CKA 1.0000" in said
    assert "over layers" not in said, "no tensor of a layer moved"
    assert write_drift(tmp_path, drift)[0].read_text().strip() == ""
