"""Several drivers at once: of one name, and of one dataset that nobody has prepared yet."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study import run as run_module
from study.storage.study_folder import StudyFolder

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

SCRIPT = Path(run_module.__file__ or "")
SMALL = ["search.trials=0", "training.epochs=2", "data.shots=4", "confirm.seeds=[1,2]"]
SMALL += ["data.augment=false"]


def start(name: str, seed: int, backbone: Path, place: Path) -> "subprocess.Popen[str]":
    """Start a driver; the seed tells studies of one name apart."""
    own = [f"name={name}", f"seed={seed}", f"backbone.name={backbone}"]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), "quickstart", *own, *SMALL],
        cwd=place,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{place}/{name}-{seed}.db"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_of_two_with_one_name_one_is_refused_and_all_others_end_well(
    tiny_backbone: Path, tmp_path: Path
) -> None:
    names = (("mine", 1), ("mine", 2), ("other", 1))
    running = [start(name, seed, tiny_backbone, tmp_path) for name, seed in names]
    outputs = [driver.communicate()[0] for driver in running]
    statuses = [driver.returncode for driver in running]
    assert sorted(statuses[:2]) == [0, 2], outputs
    assert statuses[2] == 0, outputs[2]
    refused = outputs[statuses.index(2)]
    assert "study 'mine'" in refused
    assert "Traceback" not in refused

    folder = StudyFolder(tmp_path / "runs" / "mine")
    seed = names[statuses.index(0)][1]
    assert f"seed: {seed}\n" in folder.config_path.read_text()
    folder.refuse_damaged()  # raises nothing
    ends = [trial.read_end() for trial in folder.trials()]
    assert {end and end.status for end in ends} == {"finished"}
    # Decoded images, and features of encoders in which nothing is tuned; nothing written in part.
    images = tmp_path / "runs" / "images"
    assert {path.suffix for path in images.iterdir()} == {".arrow", ".safetensors"}
