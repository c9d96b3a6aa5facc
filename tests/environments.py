"""Fresh virtual environments, which have the libraries of the one that runs the tests."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROGRAMS = ("mlflow", "uvicorn")
"""The programs of libraries that an environment gets; the first starts the second by its name."""


def outside() -> dict[str, str]:
    """Return the variables of this process without those that lead to the checkout."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}


def with_libraries(place: Path) -> Path:
    """Make an environment without this project, and return the folder of its programs.

    The libraries are named in a .pth file. Python does not read such files in the folders that it
    names, so an editable installation of this project is not seen.
    """
    programs = _empty(place)
    _add_libraries(place)
    return programs


def with_wheel(place: Path) -> Path:
    """Make an environment with a wheel of this checkout, and return the folder of its programs."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    build = (*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", place, ROOT)
    subprocess.run(build, check=True)
    (wheel,) = place.glob("*.whl")
    programs = _empty(place)
    install = (*pip, "--python", programs / "python", "install", "--no-deps", wheel)
    subprocess.run(install, check=True)
    _add_libraries(place)
    return programs


def with_only(place: Path, names: Iterable[str]) -> Path:
    """Make an environment with some distributions alone, and return the folder of its programs.

    It has their files, as links, and those of what they require, so that nothing else of the
    environment that runs the tests can be imported. What is required and not installed is left out.

    Raises:
        PackageNotFoundError: a named distribution is not installed.
    """
    programs = _empty(place)
    (own,) = place.glob("venv/lib/python*/site-packages")
    for name in required(names):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            link = own / top
            if not link.exists():  # several distributions may share a folder
                link.symlink_to(Path(str(found.locate_file(top))))
    return programs


def required(names: Iterable[str]) -> set[str]:
    """Return the names of distributions and, of what they require, of all that are installed.

    Raises:
        PackageNotFoundError: a named distribution is not installed.
    """
    found: set[str] = set()
    for name in names:
        distribution(name)
    left = list(names)
    while left:
        name = left.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            lines = distribution(name).requires or ()
        except PackageNotFoundError:
            continue
        found.add(name)
        wanted = map(Requirement, lines)
        left += [one.name for one in wanted if not one.marker or one.marker.evaluate({"extra": ""})]
    return found


def _empty(place: Path) -> Path:
    venv.create(place / "venv", symlinks=True)
    return place / "venv" / "bin"


def _add_libraries(place: Path) -> None:
    (own,) = place.glob("venv/lib/python*/site-packages")
    # What the environment has itself comes before them.
    others = [path for path in sys.path if path.endswith("site-packages")]
    (own / "others.pth").write_text("".join(f"{path}\n" for path in others))
    for name in PROGRAMS:
        found, *_ = entry_points(group="console_scripts", name=name)
        program = place / "venv" / "bin" / name
        program.write_text(
            f"#!{program.with_name('python')}\n"
            f"import sys\nfrom {found.module} import {found.attr}\nsys.exit({found.attr}())\n"
        )
        program.chmod(0o755)
