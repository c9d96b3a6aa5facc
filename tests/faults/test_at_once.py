"""Several drivers at once: of one name, and of one dataset that nobody has prepared yet."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study import run as run_module
from study.storage.ledger import StudyFolder

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

SCRIPT = Path(run_module.__file__ or "")
SMALL = ["search.trials=0", "training.epochs=2", "data.shots=4", "confirm.seeds=[1,2]"]
SEEDS = {"first": ("mine", 1), "second": ("mine", 2), "third": ("other", 1)}
"""Driver to the study's name, and its seed, which tells the two of one name apart."""


@pytest.fixture(scope="module")
def outcome(
    tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[int, str]]:
    """Exit status and output of drivers that were started in the same moment."""
    place = tmp_path_factory.mktemp("at-once")
    running = {
        driver: subprocess.Popen(
            [
                *(sys.executable, str(SCRIPT), "quickstart", f"name={name}", f"seed={seed}"),
                *(f"backbone.name={tiny_backbone}", "data.augment=false", *SMALL),
            ],
            cwd=place,
            env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{place / driver}.db"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for driver, (name, seed) in SEEDS.items()
    }
    outputs = {driver: process.communicate()[0] for driver, process in running.items()}
    found = {driver: (running[driver].returncode, outputs[driver]) for driver in running}
    found["place"] = (0, str(place))
    return found


def test_of_two_with_one_name_one_is_refused(outcome: dict[str, tuple[int, str]]) -> None:
    told = [outcome["first"], outcome["second"]]
    assert sorted(status for status, _ in told) == [0, 2], told
    (refused,) = [output for status, output in told if status == 2]
    assert "study 'mine'" in refused
    assert "is being run by another process" in refused or "resume mine" in refused
    assert "Traceback" not in refused


def test_the_other_keeps_the_configuration_that_it_began_with(
    outcome: dict[str, tuple[int, str]],
) -> None:
    folder = StudyFolder(Path(outcome["place"][1]) / "runs" / "mine")
    (ran,) = [d for d in ("first", "second") if outcome[d][0] == 0]
    assert f"seed: {SEEDS[ran][1]}\n" in folder.config_path.read_text()
    folder.refuse_damaged()  # raises nothing
    assert all(
        trial.read_end() and trial.read_end().status == "finished" for trial in folder.trials()
    )


def test_two_that_prepare_one_dataset_at_once_both_end_well(
    outcome: dict[str, tuple[int, str]],
) -> None:
    status, output = outcome["third"]
    assert status == 0, output
    images = Path(outcome["place"][1]) / "runs" / "images"
    assert images.exists()
    # Decoded images, and features of encoders in which nothing is tuned; nothing written in part.
    assert {path.suffix for path in images.iterdir()} == {".arrow", ".safetensors"}
