"""Draws mutations at random, in lines that tests execute, and lists the tests nearest to each."""

from __future__ import annotations

import random
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from mutants import Place, mutants, places

NEAREST = 40
"""So many tests that execute a line are listed by name."""
NEAREST_FILES = 12
"""So many files of such tests are listed; they run where there are more tests than listed."""

Entry = tuple[str, Place, set[str]]
"""A file, what can be changed in it, and the contexts of the tests that execute it."""


def draw(checkout: Path, coverage: Path, log: str, *, seed: int, number: int) -> dict[str, Any]:
    """Return mutations in executed lines, each room with its share.

    ``coverage`` is a database of coverage.py, in which each test is a context, and ``log`` is what
    pytest printed of the time that each test took.
    """
    executed, tests_of = _executed(checkout, coverage)
    lines = Counter[str]()
    for room, entries in executed.items():
        for _, place, _ in entries:
            lines[room] += len(place.lines)
    seconds = _seconds(log)
    generator = random.Random(seed)
    mutations = []
    for room, share in shares(lines, number).items():
        able = [entry for entry in executed[room] if mutants(entry[1])]
        for file, place, contexts in generator.sample(able, share):
            fault, text = _one_of(mutants(place), generator)
            tests = nearest(file, _tests(contexts, tests_of), seconds)
            mutations.append(
                {
                    "file": file,
                    "function": place.function,
                    "fault": fault,
                    "original": place.original,
                    "mutated": text,
                    "occurrence": place.occurrence,
                    "tests": tests[:NEAREST],
                    "files": files_of(tests)[:NEAREST_FILES],
                    "caught": None,
                }
            )
    revision = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    commit = subprocess.run(revision, capture_output=True, text=True, check=True).stdout.strip()
    drawn = {"commit": commit, "seed": seed, "executed_lines": dict(sorted(lines.items()))}
    return {**drawn, "mutations": mutations}


def _executed(checkout: Path, coverage: Path) -> tuple[dict[str, list[Entry]], dict[str, set[str]]]:
    """Return what was executed in each room, with its contexts, and the tests of each file."""
    from coverage import CoverageData

    data = CoverageData(str(coverage))
    data.read()
    executed: dict[str, list[Entry]] = {}
    tests_of: dict[str, set[str]] = {}
    for context in data.measured_contexts():
        test = context.rpartition("|")[0]
        tests_of.setdefault(test.split("::")[0], set()).add(test)
    for path in sorted((checkout / "study").rglob("*.py")):
        contexts = data.contexts_by_lineno(str(path))
        file = str(path.relative_to(checkout))
        room = file.split("/")[1] if file.count("/") > 1 else "."
        for place in places(path.read_text()):
            names = set[str]()
            for line in place.lines:
                names.update(contexts.get(line, []))
            names.discard("")  # what ran outside of tests
            if names:
                executed.setdefault(room, []).append((file, place, names))
    return executed, tests_of


def shares(lines: dict[str, int], number: int) -> dict[str, int]:
    """Return how many of a number each room gets, in proportion to its lines."""
    every = sum(lines.values())
    whole, remainders = {}, {}
    for room in sorted(lines):
        whole[room], remainders[room] = divmod(number * lines[room], every)
    missing = number - sum(whole.values())
    for room in sorted(remainders, key=lambda room: -remainders[room])[:missing]:
        whole[room] += 1
    return whole


def nearest(file: str, tests: set[str], seconds: dict[str, float]) -> list[str]:
    """Return the tests of the file of the same name, those of the same room, then all others."""
    mirror = mirror_of(file)
    room = "/".join(mirror.split("/")[:2])

    def distance(test: str) -> tuple[bool, bool, float, str]:
        place = test.split("::")[0]
        return place != mirror, not place.startswith(room), seconds.get(test, 1.0), test

    return sorted(tests, key=distance)


def files_of(tests: list[str]) -> list[str]:
    """Return the files of tests in order, each once."""
    return list(dict.fromkeys(test.split("::")[0] for test in tests))


def mirror_of(file: str) -> str:
    """Return where the tests of a file of the package stand."""
    return re.sub(r"(\w+\.py)$", r"test_\1", file.replace("study/", "tests/", 1))


def _tests(contexts: set[str], tests_of: dict[str, set[str]]) -> set[str]:
    """Return the tests that executed a line; what a fixture does, each test of the file needs."""
    tests = set()
    for context in contexts:
        test, _, phase = context.rpartition("|")
        if phase == "setup":
            tests |= tests_of[test.split("::")[0]]
        else:
            tests.add(test)
    return tests


def _one_of(made: list[tuple[str, str]], generator: random.Random) -> tuple[str, str]:
    """Draw a fault, then one of the mutants that have it; of None only where nothing else is."""
    faults = sorted({fault for fault, _ in made})
    subtle = [fault for fault in faults if fault != "None returned"]
    fault = generator.choice(subtle or faults)
    return generator.choice([mutant for mutant in made if mutant[0] == fault])


def _seconds(log: str) -> dict[str, float]:
    taken: dict[str, float] = {}
    for seconds, test in re.findall(r"^([\d.]+)s (?:setup|call|teardown) +(.+)$", log, re.M):
        taken[test] = taken.get(test, 0.0) + float(seconds)
    return taken
