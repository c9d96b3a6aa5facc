"""Each program of this folder still runs, with tiny settings, and prints its tables."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
WORDS = {
    "gpu.py --quick": [
        "nothing here is a measurement",
        "| TF32 | plain | ",
        "2 trials at once",
        "augmented to",
    ],
    "intervals/coverage.py --studies 2": [
        "| classes of 300 and 5 | ",
        "| H, 6 classes of 6 groups of 10 | ",
        "| 3 seeds, 60 images | ",
        "| 5 images, 3 seeds | ",
    ],
    "scale/scale.py --trials 20 --epochs 3 --slots 2": [
        "CPU s, ",
        "behind at the end, and lacks None",
    ],
    "timeline.py quickstart search.trials=10 training.epochs=3 search.asha=null test.seeds=[1,2]": [
        "| whole study | 0.0 | ",
        "| workers of trials | ",
    ],
}


def output_of(command: str, place: Path) -> str:
    """Run a program in a folder of its own, which must end well, and return what it prints."""
    name, *arguments = command.split()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        [sys.executable, str(HERE / name), *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


IN_CI = "gpu.py --quick"


@pytest.mark.parametrize(
    "command", [pytest.param(one, marks=[pytest.mark.ci] * (one == IN_CI)) for one in WORDS]
)
def test_a_program_prints_its_tables(command: str, tmp_path: Path) -> None:
    printed = output_of(command, tmp_path)
    for words in ("torch", *WORDS[command]):
        assert words in printed
