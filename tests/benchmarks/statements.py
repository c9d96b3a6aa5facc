"""How many statements each room has, counted by `ast`, with docstrings and without.

python tests/benchmarks/statements.py [CHECKOUT]
"""

import ast
import sys
from collections import Counter
from pathlib import Path


def main() -> None:
    """Count and print."""
    checkout = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parents[2]
    every, docstrings = Counter[str](), Counter[str]()
    for path in sorted((checkout / "study").rglob("*.py")):
        room = path.relative_to(checkout / "study").parts[0]
        nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.stmt)]
        every[room] += len(nodes)
        docstrings[room] += sum(map(_is_docstring, nodes))
    for room in [*every, "all"]:
        counted = every[room] if room != "all" else every.total()
        told = docstrings[room] if room != "all" else docstrings.total()
        print(f"{room:<14}{counted:>7,} statements, {counted - told:>6,} without docstrings")


def _is_docstring(node: ast.stmt) -> bool:
    """Return whether a statement is a text alone, below a name or a field."""
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text and isinstance(node.value.value, str)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
