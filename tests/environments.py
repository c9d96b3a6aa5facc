"""Fresh virtual environments, which have the libraries of the one that runs the tests."""

import os
import subprocess
import sys
import venv
from importlib.metadata import entry_points
from pathlib import Path

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


def _empty(place: Path) -> Path:
    venv.create(place / "venv", symlinks=True)
    return place / "venv" / "bin"


def _add_libraries(place: Path):
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
