"""Mutations change the code, are found again in later code, and are caught by the tests or not."""

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

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
def draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    yield importlib.import_module("mutation_draw")
    for name in ("mutants", "mutation_draw", "failing", "mutations"):
        sys.modules.pop(name, None)


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


def test_a_test_that_fails_anyway_catches_nothing(toy: Path) -> None:
    with (toy / TESTS).open("a") as file:
        file.write("\ndef test_that_fails():\n    assert False\n")
    commit(toy)
    tests = [f"{TESTS}::test_that_fails", f"{TESTS}::test_a_number_grows"]
    record = toy.parent / "record.json"
    entry = mutation("number > 3", "number >= 3", tests=tests)
    record.write_text(json.dumps({"mutations": [entry]}))
    assert run("run", record, toy).returncode == 0
    assert json.loads(record.read_text())["mutations"][0]["caught"] is False


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


@pytest.mark.parametrize(
    ("functions", "found"),
    [
        ({"a": "old", "b": "old"}, ("a", "old")),
        ({"b": "old", "c": "new"}, ("b", "old")),
        ({"b": "old", "c": "old"}, None),
        ({"a": "new"}, ("a", "new")),
        ({"a": "new", "b": "new"}, None),
    ],
    ids=["its file", "another file", "two files", "another function", "two functions"],
)
def test_code_is_found_in_its_function_or_in_the_only_one_that_has_it(
    draws: ModuleType, functions: dict[str, str], found: tuple[str, str] | None
) -> None:
    locate = importlib.import_module("mutations").locate
    present = []
    for file, function in functions.items():
        for place in draws.places(f"def {function}(x):\n    return x + 1\n"):
            present.append((Path(file), place))
    former = {"file": "a", "function": "old", "original": "return x + 1", "occurrence": 0}
    located = locate(present, Path(), former)
    assert found == (located and (str(located[0]), located[1].function))


def test_a_checkout_with_changes_is_refused(toy: Path) -> None:
    (toy / "study/room/toy.py").write_text(CODE.replace("3", "4"))
    record = toy.parent / "record.json"
    record.write_text(json.dumps({"mutations": []}))
    done = run("run", record, toy)
    assert done.returncode == 2
    assert str(toy) in done.stderr


def test_each_mutant_of_a_file_changes_its_tree_and_no_docstring_or_annotation(
    draws: ModuleType,
) -> None:
    mutants = importlib.import_module("mutants")
    made = []
    for place in draws.places(CODE):
        for _, text in draws.mutants(place):
            changed = mutants.replace(CODE, place, text)
            assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(CODE))
            made.append(text)
    assert {"number >= 3", "number > 4", "True", "False", "return number - by"} < {*made}
    assert not any("Return more" in text or "int" in text for text in made)


@pytest.mark.parametrize(
    ("statement", "mutant"),
    [
        ("return a and b", "return a or b"),
        ("return not a", "return a"),
        ("a.append(1)", "pass"),
        ("raise ValueError(f'{a + 1}')", "pass"),
        ("return f(a, key=1)", "return f(a)"),
        ("return [x for x in a if x]", "return [x for x in a]"),
        ("x: 'list[int]' = 1", "x: 'list[int]' = 2"),
        ("return a['key']", "return a['key_']"),
    ],
)
def test_a_statement_has_the_mutant(draws: ModuleType, statement: str, mutant: str) -> None:
    (place,) = draws.places(f"def f(a, b):\n    {statement}\n")
    assert mutant in [text for _, text in draws.mutants(place)]


@pytest.mark.parametrize(
    "statement", ["raise ValueError(f'{a + 1}')", "logger.info('%d', a + 1)", "'A text.'", "x = a"]
)
def test_messages_and_plain_names_are_left_alone(draws: ModuleType, statement: str) -> None:
    listed = draws.places(f"def f(a):\n    {statement}\n")
    made = [text for place in listed for _, text in draws.mutants(place)]
    assert {*made} <= {"pass"}


def test_rooms_have_their_share_by_lines(draws: ModuleType) -> None:
    assert draws.shares({"b": 100, "a": 55, ".": 45}, 10) == {"b": 5, "a": 3, ".": 2}
    assert sum(draws.shares({"a": 1, "b": 1, "c": 1}, 10).values()) == 10


def test_the_nearest_tests_come_first(draws: ModuleType) -> None:
    tests = [
        "tests/other/test_a.py::a",
        "tests/room/test_b.py::b",
        f"{TESTS}::slow",
        f"{TESTS}::quick",
    ]
    seconds = {f"{TESTS}::slow": 9.0, f"{TESTS}::quick": 0.1}
    assert draws.nearest("study/room/toy.py", {*tests}, seconds) == tests[::-1]
