"""Two small studies, and every byte and number that they must give again after a redesign.

python tests/benchmarks/same_results.py record before.json      # run them, write what they gave
python tests/benchmarks/same_results.py record after.json       # ... of another state of the code
python tests/benchmarks/same_results.py compare before.json after.json
python tests/benchmarks/same_results.py compare before.json after.json --within 1e-6
python tests/benchmarks/same_results.py compare before.json after.json --alike

``--alike`` is for states that search otherwise, for example with a further baseline. It compares
the trials that both have, by what is trained and not by their ids: stage, seed, settings and
epochs. A column that only one has, since a version added it, is not compared.

A record has the tuned tensors beside it, in a folder of its name. Both records must be of one
machine and one set of libraries: rounding differs between others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
SMALL = [
    *("seed=1", "search.trials=10", "search.asha=null", "training.epochs=3"),
    *("confirm.seeds=[1,2]", "confirm.runners_up=1", "resources.max_concurrent=1"),
]
STUDIES = {"few_shot": ["quickstart", *SMALL], "base_to_new": ["base_to_new", *SMALL]}
TIMED = ("study", "seconds", "images_per_second", "ended_at")
"""Columns that differ between two runs of the same code."""
TRAINED = {
    **dict.fromkeys(("stage", "seed", "epochs", "subset", "bias_lr", "ln_lr", "distill_weight")),
    **{"head": "text", "head_lr": None, "head_steps": None},
    **{"strength": 1.0, "calibration": 0.0, "peer_lr": None},
}
"""The columns of what is trained, with the values that they had before there were such columns."""
NAMES = ("trial_id", "arm", "label", "number")
"""The columns of what a trial is called."""


def main() -> int:
    """Record or compare; return 1 where two records differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("record").add_argument("file", type=Path)
    compare = verbs.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    compare.add_argument("--within", type=float, help="how far numbers may be from each other")
    compare.add_argument("--alike", action="store_true", help="compare what both trained")
    options = parser.parse_args()
    if options.verb == "record":
        record = {
            name: _record(arguments, options.file.with_suffix("") / name)
            for name, arguments in STUDIES.items()
        }
        options.file.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        return 0
    records = [json.loads(f.read_text()) for f in (options.before, options.after)]
    if options.alike:
        records = [{name: by_training(study) for name, study in r.items()} for r in records]
        for name in STUDIES:
            one, other = (record[name].keys() for record in records)
            print(
                f"{name}: {len(one & other)} trials that both trained, {len(one - other)} of the "
                f"former and {len(other - one)} of the latter alone"
            )
        records = [_shared(*records), _shared(*reversed(records))]
    elif options.within is not None:
        print(f"the furthest tuned number: {_spread(records, options):.1e}")
    found = differences(*records, within=options.within or 0.0)
    print("\n".join(found) or "the same bytes and the same numbers")
    return 1 if found else 0


def differences(
    before: dict[str, Any], after: dict[str, Any], place: str = "", *, within: float = 0.0
) -> list[str]:
    """Return a line for each value that two records do not share, with its place in them."""
    found = []
    for key in sorted(before.keys() | after.keys()):
        one, other, path = before.get(key), after.get(key), f"{place}{key}"
        if isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{path} / ", within=within)
        elif one != other and not (_near(one, other, within) or (within and "/ deltas /" in path)):
            found.append(f"{path}: {one} became {other}")
    return found


def by_training(record: dict[str, Any]) -> dict[str, Any]:
    """Return the trials of a study's record by what was trained, with hashes of their deltas."""
    found: dict[str, Any] = {}
    for trial_id, row in record["results"].items():
        key = " ".join(f"{name}={row.get(name, default)}" for name, default in TRAINED.items())
        deltas = {
            Path(path).name: digest
            for path, digest in record["deltas"].items()
            if Path(path).parent.name == trial_id
        }
        rest = {name: value for name, value in row.items() if name not in NAMES}
        found[key] = {**rest, "deltas": deltas}
    return found


def _shared(record: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the trials, and their columns, that another record has as well."""
    return {
        key: _shared(value, other[key]) if isinstance(value, dict) and key != "deltas" else value
        for key, value in record.items()
        if key in other
    }


def _near(one: Any, other: Any, within: float) -> bool:
    numbers = isinstance(one, float) and isinstance(other, float)
    return numbers and abs(one - other) <= within


def _spread(records: list[dict[str, Any]], options: argparse.Namespace) -> float:
    """Return how far a tuned number of one record is from that of the other, at most."""
    furthest = 0.0
    for name in STUDIES:
        for path in records[0][name]["deltas"].keys() & records[1][name]["deltas"].keys():
            places = (
                file.with_suffix("") / name / path for file in (options.before, options.after)
            )
            one, other = (load_file(place) for place in places)
            furthest = max([furthest, *((one[k] - other[k]).abs().max().item() for k in one)])
    return furthest


def _record(arguments: list[str], kept: Path) -> dict[str, Any]:
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
        for path in deltas:
            (kept / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / path, kept / path)
        rows = pq.read_table(folder / "results.parquet").to_pylist()
        table = {
            row["trial_id"]: {name: value for name, value in row.items() if name not in TIMED}
            for row in rows
        }
    return {"deltas": deltas, "results": table}


if __name__ == "__main__":
    sys.exit(main())
