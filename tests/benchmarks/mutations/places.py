"""The places of a Python source that a mutation may change, and the source with one changed.

A place is known by its function and its statement, without the layout. So a mutation can be put
into a later version of the file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
UNCHANGED = (ast.Try, ast.Match, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Place:
    """A simple statement, or the expression in the head of a compound one, within a function."""

    function: str
    """Qualified name, as in `Class.method`."""
    node: ast.AST
    original: str
    """Its code, without layout and comments."""
    occurrence: int
    """How many of the same code are before it in the function."""


def places(source: str) -> list[Place]:
    """Return what can be changed in the functions of a source, from top to bottom."""
    counted: dict[tuple[str, str], int] = {}
    listed = []
    for function, body in _functions(ast.parse(source), ""):
        for node in _heads_and_statements(body):
            original = ast.unparse(node)
            occurrence = counted.get((function, original), 0)
            counted[function, original] = occurrence + 1
            listed.append(Place(function, node, original, occurrence))
    return listed


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


def _heads_and_statements(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield the heads of compound statements, and simple statements; no texts or functions."""
    for statement in body:
        if isinstance(statement, SCOPES):
            continue
        if isinstance(statement, ast.If | ast.While):
            yield statement.test
        elif isinstance(statement, ast.With):
            for item in statement.items:
                yield item.context_expr
        elif isinstance(statement, ast.For):
            yield statement.iter
        elif not isinstance(statement, UNCHANGED) and not _is_text(statement):
            yield statement
        handlers = getattr(statement, "handlers", [])
        cases = getattr(statement, "cases", [])
        for block in [statement, *handlers, *cases]:
            for name in ("body", "orelse", "finalbody"):
                yield from _heads_and_statements(getattr(block, name, []))


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
