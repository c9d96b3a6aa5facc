"""The command ``drift``."""

from collections.abc import Callable
from pathlib import Path

from tests.workflow.conftest import Run


def test_drift_prints_sites_and_features_and_names_its_files(tuned_study: Path, run: Run):
    told = run("drift", tuned_study, "--trial", "test-best-seed1").out
    assert "mlp.fc2.bias" in told
    assert "Features of the images: mean cosine 1.0000" in told
    assert (tuned_study / "plots" / "drift.png").is_file()
    assert (tuned_study / "drift.csv").read_text().count("\n") == 2


def test_drift_names_a_trial_without_tuned_parameters(
    few_shot_study: Path, refused: Callable[..., str]
):
    assert "test-best-seed1" in refused("drift", few_shot_study)
    assert not (few_shot_study / "drift.csv").exists()
