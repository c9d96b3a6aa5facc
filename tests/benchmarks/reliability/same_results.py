"""Two small studies, and every byte and number that they must give again after a redesign.

    python tests/benchmarks/reliability/same_results.py record before.json  # runs them
    python tests/benchmarks/reliability/same_results.py record after.json   # of another state
    python tests/benchmarks/reliability/same_results.py compare before.json after.json
    python tests/benchmarks/reliability/same_results.py compare before.json after.json --within 1e-6

``--within`` allows numbers to differ so far, and the hashes of files at all. Both records must be
of one machine and one set of libraries: rounding differs between others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from study.storage.study_folder import StudyFolder
from tests.benchmarks.reliability.study_contents import differences, trial_contents

ROOT = Path(__file__).parents[3]
SMALL = [
    *("seed=1", "search.trials=10", "search.asha=null", "training.epochs=3"),
    *("test.seeds=[1,2]", "test.runners_up=1", "resources.max_concurrent=1"),
]


def main() -> int:
    """Record or compare; return 1 where two records differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("record").add_argument("file", type=Path)
    compare = verbs.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    compare.add_argument("--within", type=float, default=0.0)
    options = parser.parse_args()
    if options.verb == "record":
        contents = {name: contents_of_study(name) for name in ("quickstart", "base_to_new")}
        options.file.write_text(json.dumps(contents, indent=1) + "\n")
        return 0
    before, after = (json.loads(file.read_text()) for file in (options.before, options.after))
    lines = list(differences(before, after, options.within))
    print("\n".join(lines) or "the same bytes and the same numbers")
    return 1 if lines else 0


def contents_of_study(name: str) -> dict[str, list[Any]]:
    """Run a shipped study in a small form, and return what its trials are in the end."""
    with tempfile.TemporaryDirectory() as scratch:
        store = [f"storage={scratch}/runs", f"tracking.uri=sqlite:///{scratch}/mlflow.db"]
        subprocess.run(
            [sys.executable, str(ROOT / "study" / "run.py"), name, "name=same", *SMALL, *store],
            cwd=scratch,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        trials = StudyFolder(Path(scratch) / "runs" / "same").trials()
        return {trial.trial_id: trial_contents(trial) for trial in trials}


if __name__ == "__main__":
    sys.exit(main())
