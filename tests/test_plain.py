"""Code is read once: how densely the package may be written, counted over its syntax."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.case_tables import from_table

STUDY = Path(__file__).parent.parent / "study"
ROOMS = sorted(path.name for path in STUDY.iterdir() if [*path.glob("*.py")])

COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
PUNCTUATION = ast.expr_context | ast.operator | ast.cmpop | ast.unaryop | ast.boolop | ast.Module
"""Nodes that say nothing which their parents do not."""
PREDICATES = {"all", "any", "bool", "callable", "hasattr", "isinstance", "issubclass"}

NODES, NODES_OF_A_ROOM = 7.8, 8.5
"""The most syntax nodes a statement."""
WALRUS, CONDITIONAL, STARRED = 4.0, 25.0, 15.0
"""The most of each form per 1,000 statements."""
LINES, LONG, MOST_LONG = 80, 50, 25
"""The most lines of a function; the lines beyond which one is long; the most that are long."""


def parse(path: Path) -> ast.Module:
    """Return the tree of a file without its docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not is_text(part)]  # type: ignore[attr-defined]
    return tree


def is_text(part: ast.AST) -> bool:
    """Tell whether a statement is a text alone."""
    return (
        isinstance(part, ast.Expr)
        and isinstance(part.value, ast.Constant)
        and isinstance(part.value.value, str)
    )


@cache
def trees() -> dict[Path, ast.Module]:
    """Return the trees of all files of the package."""
    return {path: parse(path) for path in sorted(STUDY.rglob("*.py"))}


def is_nested(node: ast.AST) -> bool:
    """Tell whether a node is a comprehension that has another one inside."""
    if not isinstance(node, COMPREHENSIONS):
        return False
    return any(isinstance(inner, COMPREHENSIONS) for inner in ast.walk(node) if inner is not node)


def is_truth(node: ast.AST) -> bool:
    """Tell whether an expression is true or false by its form."""
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in PREDICATES
    return isinstance(node, ast.Compare)


def multiplies_truth(node: ast.AST) -> bool:
    """Tell whether a node takes a text or a number as often as something is true.

    A text of several characters is never written many times over, so what it is multiplied by must
    be a truth.
    """
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)):
        return False
    return any(is_truth(factor) or is_long_text(factor) for factor in (node.left, node.right))


def is_long_text(node: ast.AST) -> bool:
    """Tell whether an expression is a text of several characters."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and len(node.value) > 1
    return isinstance(node, ast.JoinedStr)


def functions_longer_than(limit: int) -> Iterator[str]:
    """Yield the place of each function that has more lines."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno >= limit:
                    yield f"{path}: {node.name}"


def count(room: str = "") -> Counter[str]:
    """Count forms in a room, or in the whole package."""
    counts: Counter[str] = Counter()
    for path, tree in trees().items():
        if not path.is_relative_to(STUDY / room):
            continue
        for node in ast.walk(tree):
            counts["statements"] += isinstance(node, ast.stmt)
            counts["nodes"] += not isinstance(node, PUNCTUATION)
            counts["walrus"] += isinstance(node, ast.NamedExpr)
            counts["conditional"] += isinstance(node, ast.IfExp)
            counts["starred"] += isinstance(node, ast.Starred)
    return counts


def test_no_line_has_to_be_read_twice():
    for path, tree in trees().items():
        for node in ast.walk(tree):
            place = f"{path}:{getattr(node, 'lineno', 0)}"
            assert not is_nested(node), f"{place}: write the inner comprehension as a loop"
            assert not multiplies_truth(node), f"{place}: say `if`"


def test_a_function_is_read_at_a_glance_and_few_are_long():
    assert not [*functions_longer_than(LINES)]
    long = [*functions_longer_than(LONG)]
    assert len(long) <= MOST_LONG, "\n".join(long)


def test_the_package_says_one_thing_a_line():
    counts = count()
    assert counts["nodes"] / counts["statements"] <= NODES
    per_thousand = {form: 1000 * counts[form] / counts["statements"] for form in counts}
    limits = {"walrus": WALRUS, "conditional": CONDITIONAL, "starred": STARRED}
    above = {form: per_thousand[form] for form in limits if per_thousand[form] > limits[form]}
    assert not above, f"more than {limits} per 1,000 statements"


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_is_much_denser_than_the_package(room: str):
    counts = count(room)
    assert counts["nodes"] / counts["statements"] <= NODES_OF_A_ROOM


@from_table
def test_a_truth_as_a_factor_is_found(text: str, is_one: bool):
    assert multiplies_truth(ast.parse(text, mode="eval").body) is is_one
