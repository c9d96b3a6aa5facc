"""Mutants of a Python source: small faults, one each, that a good test suite notices.

A mutant is remembered by its function and the statement that it changes, without its layout. So it
can be put into a later version of the file.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SWAPPED: dict[type, type[Any]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Div,
}
DELETABLE = (ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
UNCHANGED = (ast.Try, ast.Match, ast.Import, ast.ImportFrom)
PROSE = ("logger", "log", "warnings", "console", "cast")
"""Names whose calls get text for people, or types: what they are called with is left alone."""


@dataclass(frozen=True)
class Place:
    """A simple statement, or the expression in the head of a compound one, within a function."""

    function: str
    """Qualified name, as in `Class.method`."""
    node: ast.AST
    condition: bool
    """Whether it is what an ``if`` or a ``while`` asks."""
    original: str
    """Its code, without layout and comments."""
    occurrence: int
    """How many of the same code are before it in the function."""

    @property
    def lines(self) -> range:
        """The lines of the file that it covers."""
        return range(self.node.lineno, self.node.end_lineno + 1)  # type: ignore[attr-defined]


def places(source: str) -> list[Place]:
    """Return what can be changed in the functions of a source, from top to bottom."""
    counted: dict[tuple[str, str], int] = {}
    listed = []
    for function, body in _functions(ast.parse(source), ""):
        for node, condition in _heads_and_statements(body):
            original = ast.unparse(node)
            occurrence = counted.get((function, original), 0)
            counted[function, original] = occurrence + 1
            listed.append(Place(function, node, condition, original, occurrence))
    return listed


def mutants(place: Place) -> list[tuple[str, str]]:
    """Return the name of the fault and the changed text, for each mutant of a place."""
    changes: list[tuple[str, ast.AST, ast.AST]] = []
    if place.condition:
        for value in (True, False):
            changes.append(("condition forced", place.node, ast.Constant(value)))
    for node in _changeable(place.node):
        changes += [(kind, node, changed) for kind, changed in _variations(node)]
    made = []
    for kind, node, changed in changes:
        # The memo says what a node's copy is: here the changed one.
        text = ast.unparse(copy.deepcopy(place.node, {id(node): changed}))
        if text != place.original and _same_when_read_again(text):
            made.append((kind, text))
    return made


def replace(source: str, place: Place, text: str) -> str:
    """Return the source with another text at a place."""
    node: ast.expr = place.node  # type: ignore[assignment]
    lines = source.encode().splitlines(keepends=True)
    assert node.end_lineno is not None
    first, last = node.lineno - 1, node.end_lineno - 1
    before = b"".join(lines[:first]) + lines[first][: node.col_offset]
    after = lines[last][node.end_col_offset :] + b"".join(lines[last + 1 :])
    return (before + text.encode() + after).decode()


def _functions(tree: ast.AST, outer: str) -> Iterator[tuple[str, list[ast.stmt]]]:
    for node in ast.iter_child_nodes(tree):
        name = outer
        if isinstance(node, SCOPES):
            name = f"{outer}.{node.name}" if outer else node.name
            if not isinstance(node, ast.ClassDef):
                yield name, node.body
        yield from _functions(node, name)


def _heads_and_statements(body: list[ast.stmt]) -> Iterator[tuple[ast.AST, bool]]:
    """Yield heads and simple statements, and whether they are conditions; no texts or functions."""
    for statement in body:
        if isinstance(statement, SCOPES):
            continue
        if isinstance(statement, ast.If | ast.While):
            yield statement.test, True
        elif isinstance(statement, ast.With):
            for item in statement.items:
                yield item.context_expr, False
        elif isinstance(statement, ast.For):
            yield statement.iter, False
        elif not isinstance(statement, UNCHANGED) and not _is_text(statement):
            yield statement, False
        handlers = getattr(statement, "handlers", [])
        cases = getattr(statement, "cases", [])
        for block in [statement, *handlers, *cases]:
            for name in ("body", "orelse", "finalbody"):
                yield from _heads_and_statements(getattr(block, name, []))


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _changeable(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and what is in it, without annotations, messages and their arguments."""
    yield node
    if isinstance(node, ast.Raise | ast.JoinedStr) or _called(node) in PROSE:
        return
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, ast.AST) and name != "annotation":
                yield from _changeable(child)


def _called(node: ast.AST) -> str | None:
    """Return the first name of what a call calls, or None."""
    if not isinstance(node, ast.Call):
        return None
    function = node.func
    while isinstance(function, ast.Attribute):
        function = function.value
    return function.id if isinstance(function, ast.Name) else None


def _variations(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the name of a fault and what stands in place of a node, for each that it can have."""
    operator = getattr(node, "op", None)
    if type(operator) in SWAPPED:
        changed: Any = copy.copy(node)
        changed.op = SWAPPED[type(operator)]()
        yield "operator swapped", changed
    match node:
        case ast.Compare(left, operators, comparators):
            for index, compared in enumerate(operators):
                others = [*operators]
                others[index] = SWAPPED[type(compared)]()
                yield "comparison swapped", ast.Compare(left, others, comparators)
        case ast.UnaryOp(ast.Not(), operand):
            yield "not removed", operand
        case ast.Constant(bool() as value):
            yield "constant changed", ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            yield "constant changed", ast.Constant(value + 1)
        case ast.Constant(str() as value) if re.fullmatch(r"[\w./-]+", value):
            yield "constant changed", ast.Constant(f"{value}_")
        case ast.IfExp(_, body, orelse):
            yield "condition forced", body
            yield "condition forced", orelse
        case ast.comprehension(target, iterable, [_, *_], is_async):
            yield "condition forced", ast.comprehension(target, iterable, [], is_async)
        case ast.Call(function, arguments, keywords):
            for keyword in keywords:
                fewer = [other for other in keywords if other is not keyword]
                yield "argument dropped", ast.Call(function, arguments, fewer)
        case ast.Return(ast.expr()):
            yield "None returned", ast.Return(ast.Constant(None))
        case ast.Expr(ast.Call()) | ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield "statement deleted", ast.Pass()
    if isinstance(node, DELETABLE):
        yield "statement deleted", ast.Pass()


def _same_when_read_again(text: str) -> bool:
    try:
        return ast.unparse(ast.parse(text)) == text
    except SyntaxError:  # of nested quotes, which Python 3.11 cannot always write
        return False
