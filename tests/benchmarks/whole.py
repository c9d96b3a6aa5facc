"""A whole study by the command line: how soon its first result is there, how busy its slots are.

python tests/benchmarks/run.py study
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from paired import table

from study.report.configuration_table import occupancy_in_words
from study.results.occupancy import occupancy
from study.results.trial_results import read_trials
from study.storage.study_folder import StudyFolder

SCRIPT = Path(__file__).parents[2] / "study" / "run.py"


def study(arguments: list[str]) -> str:
    """Run the quick commands and a study; give the table."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = [[f"--{flag}", f"{_run(place, [f'--{flag}']):.2f} s"] for flag in ("help", "check")]
        began = time.time()
        whole = _run(place, [*arguments, "name=bench"])
        path = place / "runs" / "bench"
        first = min(
            report["ended_at"] for t in StudyFolder(path).trials() for report in t.read_reports()
        )
        rows.append(["first result after", f"{first - began:.1f} s"])
        made = (path / "report.html").stat().st_mtime - _last(path, "confirm")
        rows.append(["report after the last confirmation", f"{made:.1f} s"])
        rows.append(["whole study", f"{whole:.1f} s"])
        for stage in ("search", "confirm"):
            if (found := occupancy(read_trials(StudyFolder(path)), stage)) is not None:
                rows.append([stage, occupancy_in_words(found)])
                if stage == "search":
                    share = found.busy / found.slots / (_last(path, stage) - began)
                    rows.append(
                        ["search, since the command", f"{share:.0%} was training and evaluation"]
                    )
    return table(f"study/run.py {' '.join(arguments)}, wall seconds", ("", ""), rows)


def _last(path: Path, stage: str) -> float:
    """When a stage's last epoch ended."""
    trials = [t for t in StudyFolder(path).trials() if t.read_config()["stage"] == stage]
    return float(max(report["ended_at"] for trial in trials for report in trial.read_reports()))


def _run(place: Path, arguments: list[str]) -> float:
    storage = [] if arguments == ["--help"] else [f"storage={place / 'runs'}"]
    store = [] if arguments == ["--help"] else [f"tracking.uri=sqlite:///{place / 'mlflow.db'}"]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, *storage, *store],
        cwd=place,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - began
