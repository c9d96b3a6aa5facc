"""Two small studies, and every byte and number that they must give again after a redesign.

python tests/benchmarks/same_results.py record before.json      # run them, write what they gave
python tests/benchmarks/same_results.py record after.json       # ... of another state of the code
python tests/benchmarks/same_results.py compare before.json after.json

Both records must be of one machine and one set of libraries: rounding differs between others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
SMALL = [
    *("seed=1", "search.trials=10", "search.asha=null", "training.epochs=3"),
    *("confirm.seeds=[1,2]", "confirm.runners_up=1", "resources.max_concurrent=1"),
]
STUDIES = {"few_shot": ["quickstart", *SMALL], "base_to_new": ["base_to_new", *SMALL]}
TIMED = ("study", "seconds", "images_per_second", "ended_at")
"""Columns that differ between two runs of the same code."""


def main() -> int:
    """Record or compare; return 1 where two records differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("record").add_argument("file", type=Path)
    compare = verbs.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    options = parser.parse_args()
    if options.verb == "record":
        record = {name: _record(arguments) for name, arguments in STUDIES.items()}
        options.file.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        return 0
    found = differences(*(json.loads(f.read_text()) for f in (options.before, options.after)))
    print("\n".join(found) or "the same bytes and the same numbers")
    return 1 if found else 0


def differences(before: dict[str, Any], after: dict[str, Any], place: str = "") -> list[str]:
    """Return a line for each value that two records do not share, with its place in them."""
    found = []
    for key in sorted(before.keys() | after.keys()):
        one, other, path = before.get(key), after.get(key), f"{place}{key}"
        if isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{path} / ")
        elif one != other:
            found.append(f"{path}: {one} became {other}")
    return found


def _record(arguments: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        store = [f"storage={place / 'runs'}", f"tracking.uri=sqlite:///{place / 'mlflow.db'}"]
        subprocess.run(
            [sys.executable, str(ROOT / "study" / "run.py"), *arguments, "name=same", *store],
            cwd=place,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        folder = place / "runs" / "same"
        deltas = {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.glob("trials/*/delta*.safetensors"))
        }
        rows = pq.read_table(folder / "results.parquet").to_pylist()
        table = {
            row["trial_id"]: {name: value for name, value in row.items() if name not in TIMED}
            for row in rows
        }
    return {"deltas": deltas, "results": table}


if __name__ == "__main__":
    sys.exit(main())
