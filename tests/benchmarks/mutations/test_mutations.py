"""Mutations change the code, are found again in later code, and are caught by the tests or not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).with_name("mutations.py")
CODE = '''"""A toy."""

def grow(number: int = 1, *, by: int = 2) -> int:
    """Return more."""
    if number > 3:
        return number
    return number + by
'''
TEST = """from study.room.toy import grow

def test_a_number_grows():
    assert grow(1) == 3
"""
TESTS = "tests/room/test_toy.py"


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A committed checkout of one function and one test, which does not reach the boundary."""
    for name, text in {"study/__init__.py": "", "study/room/toy.py": CODE, TESTS: TEST}.items():
        file = tmp_path / "toy" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git(tmp_path / "toy", "init", "-q")
    commit(tmp_path / "toy")
    return tmp_path / "toy"


def git(toy: Path, *arguments: str) -> None:
    somebody = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", "-C", str(toy), *somebody, *arguments], check=True)


def commit(toy: Path) -> None:
    git(toy, "add", "-A")
    git(toy, "commit", "-qm", "Change the toy")


def mutation(original: str, mutated: str, **values: Any) -> dict[str, Any]:
    test = f"{TESTS}::test_a_number_grows"
    return {
        **{"file": "study/room/toy.py", "function": "grow", "occurrence": 0},
        **{"original": original, "mutated": mutated},
        **{"tests": [test], "files": [TESTS], "caught": None, **values},
    }


def run(verb: str, record: Path, toy: Path, *more: str) -> subprocess.CompletedProcess[str]:
    options = ["--checkout", str(toy), "--preload", "pytest", *more]
    command = [sys.executable, str(PROGRAM), verb, str(record), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_mutation_that_a_test_notices_is_caught_and_another_survives(toy: Path) -> None:
    caught = mutation("return number + by", "return number - by")
    survivor = mutation("number > 3", "number >= 3")
    record = toy.parent / "record.json"
    record.write_text(json.dumps({"mutations": [caught, survivor]}))
    done = run("run", record, toy)
    assert done.returncode == 0, done.stderr
    verdicts = [entry["caught"] for entry in json.loads(record.read_text())["mutations"]]
    assert verdicts == [f"{TESTS}::test_a_number_grows", False]
    assert (toy / "study/room/toy.py").read_text() == CODE


def test_what_is_caught_no_longer_is_told_and_what_is_gone_with_its_code(toy: Path) -> None:
    """The function moved to another file, and its test no longer looks at the sum."""
    (toy / "study/room/toy.py").rename(toy / "study/room/game.py")
    (toy / TESTS).unlink()
    (toy / "tests/room/test_game.py").write_text(
        "from study.room.game import grow\n\n"
        "def test_a_number_comes():\n    assert grow(1) is not None\n"
    )
    commit(toy)
    earlier = {"caught": f"{TESTS}::test_a_number_grows"}
    entries = [
        mutation("return number + by", "return number - by", **earlier),
        mutation("return number + by", "return None", **earlier),
        mutation("number < 3", "number <= 3", **earlier),
        mutation("number > 3", "number >= 3", caught=False),
        mutation("number > 9", "number >= 9", caught="gone"),
    ]
    record, now = toy.parent / "record.json", toy.parent / "now.json"
    record.write_text(json.dumps({"mutations": entries}))
    done = run("compare", record, toy, "--to", str(now))
    assert done.returncode == 1, done.stderr
    verdicts = [entry["caught"] for entry in json.loads(now.read_text())["mutations"]]
    assert verdicts == [False, "tests/room/test_game.py::test_a_number_comes", "gone"]
