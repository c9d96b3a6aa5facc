"""The command ``clipfit-study``, as a script: see `study.commands.main`.

``ray submit`` copies the script alone to a cluster, where the package is installed. Without
arguments, the script starts a study.
"""

import atexit
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command and return its exit code: 2 after a fault that the user can fix."""
    # At its end, Python would look for garbage among all that PyTorch and MLflow hold, for seconds.
    atexit.register(gc.freeze)
    try:
        # Only once the package's folder is off the path; Ctrl-C may also come during the import.
        from study.commands.main import main as run_command

        return run_command(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _remove_package_from_path() -> None:
    """Remove study/ from ``sys.path``, where Python puts it first when it runs this script.

    A module of this package could otherwise replace a library of the same name.
    """
    folder = Path(__file__).resolve().parent
    # The home folder to which Ray copies this script is not the package, and stays on the path.
    packaged = (folder / "method" / "subsets.py").exists()
    if packaged and Path(sys.path[0] or ".").resolve() == folder:
        sys.path.pop(0)


if __name__ == "__main__":
    _remove_package_from_path()
    sys.exit(main(sys.argv[1:] or ["run"]))
