"""The command ``drift``."""

from pathlib import Path

import pytest

from study.commands import main


def test_drift_prints_sites_and_features_and_names_its_files(
    tuned_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift", str(tuned_study), "--trial", "confirm-best-seed1"]) == 0
    told = capsys.readouterr().out
    assert "mlp.fc2.bias" in told
    assert "Features of the images: mean cosine 1.0000" in told
    assert (tuned_study / "plots" / "drift.png").is_file()
    assert (tuned_study / "drift.csv").read_text().count("\n") == 2


def test_drift_names_a_trial_without_tuned_parameters(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift", str(few_shot_study)]) == 2
    assert "confirm-best-seed1" in capsys.readouterr().err
    assert not (few_shot_study / "drift.csv").exists()
