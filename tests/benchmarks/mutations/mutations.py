"""What the tests catch: small faults drawn at random, put into the code one after the other.

python tests/benchmarks/mutations/mutations.py run mutations.json --checkout CLONE
python tests/benchmarks/mutations/mutations.py compare mutations.json --checkout CLONE --to now.json

`mutations.json` beside this file has 120 of them, in lines that default tests execute; rooms have
their share by such lines. The tests that execute a line run until one fails: first those of the
file of the same name, then those of the same room. CLONE is a clone for this alone: its files are
changed and restored. ``run`` and ``compare`` go on where they stopped; ``compare`` returns 1 if
what was caught no longer is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from failing import Suite
from places import Place, places, replace

GONE, MISSED = "gone", "caught before, and not now"
LISTED_SECONDS = 600
"""Tests that are listed have caught an endless loop if they take so long together."""
FILES_SECONDS = 300
"""Whole files of tests are given up after so long; the mutation has survived."""
PRELOADED = "hypothesis,torch,transformers.models.clip,ray.tune,mlflow,optuna,pandas,sklearn"
"""What takes seconds to import and is imported before the tests of each mutation are forked."""

Mutation = dict[str, Any]


def main() -> int:
    """Run or compare; return 1 where a mutation is no longer caught."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=["run", "compare"])
    parser.add_argument("record", type=Path)
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parents[3])
    parser.add_argument("--to", type=Path, help="where compare writes what it sees")
    parser.add_argument("--preload", default=PRELOADED, help="modules imported once for all tests")
    options = parser.parse_args()
    options.checkout = options.checkout.resolve()
    sys.path[0] = str(options.checkout)  # its study/ is tested
    changed = ["git", "-C", str(options.checkout), "status", "--porcelain", "--", "study", "tests"]
    if subprocess.run(changed, capture_output=True, text=True, check=True).stdout:
        parser.error(f"{options.checkout} has changes in study/ or tests/; commit or restore them")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the file is restored
    suite = Suite(options.checkout, options.preload.split(","))
    record = json.loads(options.record.read_text())
    if options.verb == "run":
        judge(record, options.record, suite)
        return 0
    if options.to is None:
        parser.error("compare needs --to FILE")
    return compare(record, options.to, suite)


def judge(record: dict[str, Any], to: Path, suite: Suite) -> None:
    """Put each mutation that has no verdict into the code, and write which test catches it.

    ``caught`` becomes the test that fails, False, or "gone" where the code is not there any more.
    """
    present = []
    for path in sorted((suite.checkout / "study").rglob("*.py")):
        present += [(path, place) for place in places(path.read_text())]
    for number, mutation in enumerate(record["mutations"], start=1):
        if mutation["caught"] is not None:
            continue
        located = locate(present, suite.checkout, mutation)
        mutation["caught"] = GONE
        if located is not None:
            mutation["caught"] = _caught(suite, mutation, *located)
        _write(to, record)
        print(number, mutation["file"], mutation["function"], mutation["caught"], flush=True)


def _caught(suite: Suite, mutation: Mutation, path: Path, place: Place) -> str | bool:
    listed = mutation["tests"]
    mirror = mirror_of(str(path.relative_to(suite.checkout)))
    files = [*dict.fromkeys([mirror, *mutation["files"]])]
    with mutated(path, place, mutation["mutated"]):
        failure = suite.first_failure(files_of(listed), listed, LISTED_SECONDS)
        if failure is None:
            failure = suite.first_failure(files, [], FILES_SECONDS)
    if failure is None or suite.passes(failure):
        return failure or False
    return _caught(suite, mutation, path, place)  # without the test that fails anyway


@contextlib.contextmanager
def mutated(path: Path, place: Place, text: str) -> Iterator[None]:
    """Change a file, and restore it whatever happens."""
    original = path.read_bytes()
    path.write_text(replace(original.decode(), place, text))
    try:
        yield
    finally:
        path.write_bytes(original)


def locate(
    present: list[tuple[Path, Place]], checkout: Path, mutation: Mutation
) -> tuple[Path, Place] | None:
    """Return where the code of a mutation stands now.

    It is in its function: in its file, or else in the only file that has both. If it is in no such
    function, it is in the only one that has the code.
    """
    anywhere = [found for found in present if found[1].original == mutation["original"]]
    in_function = [found for found in anywhere if found[1].function == mutation["function"]]
    in_file = [found for found in in_function if found[0] == checkout / mutation["file"]]
    for matches in (in_file, in_function, anywhere):
        if len({(path, place.function) for path, place in matches}) == 1:
            return matches[min(mutation["occurrence"], len(matches) - 1)]
    return None


def compare(record: dict[str, Any], to: Path, suite: Suite) -> int:
    """Judge again what was caught, say what no longer is, and return 1 if there is any."""
    now = {**record, "mutations": []}
    for mutation in record["mutations"]:
        if mutation["caught"] not in (None, False, GONE):
            tests = dict.fromkeys([mutation["caught"], *mutation["tests"]])
            now["mutations"].append({**mutation, "tests": [*tests], "caught": None})
    if to.exists():
        now = json.loads(to.read_text())
    judge(now, to, suite)
    counted = Counter[str]()
    for mutation in now["mutations"]:
        state = "caught"
        if mutation["caught"] in (False, GONE):
            state = mutation["caught"] or MISSED
            print(f"{state}: {mutation['file']}, {mutation['function']}")
            print(f"    {mutation['original']}\n    {mutation['mutated']}")
        counted[state] += 1
    print(", ".join(f"{number} {state}" for state, number in counted.items()))
    return 1 if counted[MISSED] else 0


def files_of(tests: list[str]) -> list[str]:
    """Return the files of tests in order, each once."""
    return list(dict.fromkeys(test.split("::")[0] for test in tests))


def mirror_of(file: str) -> str:
    """Return where the tests of a file of the package stand."""
    return re.sub(r"(\w+\.py)$", r"test_\1", file.replace("study/", "tests/", 1))


def _write(path: Path, record: dict[str, Any]) -> None:
    """Write a record whole or not at all."""
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    scratch.replace(path)


if __name__ == "__main__":
    sys.exit(main())
