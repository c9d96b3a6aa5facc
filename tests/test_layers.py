"""Imports point one way, as the design's table says, and tests lie where their modules lie."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Collection, Container, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
STUDY = ROOT / "study"

TABLES = yaml.safe_load(Path(__file__).with_name("layers.yaml").read_text())
ALLOWED: dict[str, set[str]] = {package: {*names} for package, names in TABLES["allowed"].items()}

FILES = sorted(STUDY.rglob("*.py"))


def module_of(path: Path) -> str:
    """Name a file relative to study: ``method.subsets``; ``""`` for study itself."""
    parts = path.relative_to(STUDY).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path, of_modules: Container[str] = ()) -> Iterator[tuple[str, bool]]:
    """Yield the modules that a file imports, and whether that happens when it is imported.

    A name that is imported from a package is a module where it is one of those given.
    """
    for node, top in import_statements(path):
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
            continue
        assert node.level == 0, f"{path}: a relative import hides which package it reaches into"
        assert node.module is not None
        for full in (f"{node.module}.{alias.name}" for alias in node.names):
            inner = node.module == "study" or full in of_modules
            yield full if inner else node.module, top


@cache
def import_statements(path: Path) -> list[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Return the imports of a file, and whether each happens when it is imported."""
    statements = []
    waiting: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text()), True)]
    while waiting:
        node, top = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            statements.append((node, top))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            top = False
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            top = False
        waiting += [(child, top) for child in ast.iter_child_nodes(node)]
    return statements


def within(module: str, names: Collection[str]) -> bool:
    """Tell whether a module is one of those named, or inside one."""
    return any(module == name or module.startswith(f"{name}.") for name in names)


def test_a_package_imports_only_what_is_below_it():
    below: set[str] = set()
    for package, names in ALLOWED.items():
        assert names <= below, f"{package} may only import what stands before it in the table"
        below.add(package)
    for path in FILES:
        package = module_of(path).partition(".")[0]
        allowed = ALLOWED[package] | {package}
        reached = {name.removeprefix("study.") for name, _ in imports(path) if name[:6] == "study."}
        strange = sorted(name for name in reached if not within(name, allowed))
        assert not strange, f"{path} may import {sorted(allowed)}, not {strange}"


def test_libraries_stay_in_their_packages():
    at_home, optional = TABLES["at_home"], TABLES["optional"]
    for path in FILES:
        module = module_of(path)
        package = module.partition(".")[0]
        for name, top in imports(path):
            library = name.partition(".")[0]
            place = f"{path}: {library}"
            homes = at_home.get(library) or optional.get(library) or {package}
            assert within(module, homes), f"{place} must not be imported"
            assert not (top and library in optional), f"{place} belongs inside a function"
            of_one = within(name, {"study.tracking.mlflow"})
            assert not of_one or package == "tracking", (
                f"{path}: a tracker is known by its interface"
            )


def test_heavy_libraries_are_imported_late_where_a_light_path_passes():
    for path in FILES:
        early = {name for name, top in imports(path) if top}
        for place, names in TABLES["lazy"].items():
            if within(module_of(path), {place}):
                too_early = [name for name in early if within(name, names)]
                assert not too_early, f"{path}: must be imported inside a function"


@pytest.mark.parametrize("place", TABLES["light"])
def test_a_light_package_is_imported_without_slow_libraries(place: str):
    light = TABLES["light"][place]
    modules = [module_of(path) for path in FILES if within(module_of(path), {place})]
    names = [f"study.{module}".rstrip(".") for module in modules if module not in light["but"]]
    code = (
        f"import sys, {', '.join(names)}\n"
        f"print([name for name in {light['without']} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_two_files_import_each_other_even_through_others():
    modules = {f"study.{module_of(path)}": path for path in FILES}
    left = {
        module: {name for name, _ in imports(path, of_modules=modules)} & modules.keys() - {module}
        for module, path in modules.items()
    }
    while left:
        imported = {name for below in left.values() for name in below}
        ends = {name for name, below in left.items() if not below & left.keys()}
        ends |= left.keys() - imported
        assert ends, f"imports go in a circle among {sorted(left)}"
        left = {name: below for name, below in left.items() if name not in ends}


def test_no_module_has_the_name_of_a_library():
    """``python study/run.py`` puts study/ first on the path: a namesake would shadow a library."""
    ours = {path.stem for path in STUDY.iterdir() if path.suffix == ".py" or path.is_dir()}
    ours -= {"__init__", "__pycache__"}
    theirs = set(sys.stdlib_module_names) | set(packages_distributions())
    assert not ours & theirs


def test_every_library_that_is_imported_is_a_dependency():
    """A library that another one happens to bring may be gone with its next release."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    kinds = ("hf", "lora", "onnx", "openclip", "peft")
    optional = (text for name in kinds for text in extras[name])
    wanted = [*project["dependencies"], *optional]
    declared = {text.split(">")[0].split("[")[0].strip().lower() for text in wanted}
    imported = {name.partition(".")[0] for path in FILES for name, _ in imports(path)}
    libraries = imported - set(sys.stdlib_module_names) - {"study"}
    missing = {TABLES["names_in_dependencies"].get(name, name) for name in libraries} - declared
    assert not missing
