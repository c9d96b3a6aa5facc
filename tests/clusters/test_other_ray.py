"""A head of another release of Ray, which a study would join, is refused in words."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.clusters.conftest import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

OTHER = "2.58.0"


@pytest.fixture(scope="module")
def other_ray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with another release of Ray."""
    programs = tmp_path_factory.mktemp("other") / "environment" / "bin"
    subprocess.run([sys.executable, "-m", "venv", str(programs.parent)], check=True)
    install = [str(programs / "pip"), "install", "--quiet", "--no-compile", f"ray=={OTHER}"]
    if subprocess.run(install, check=False).returncode:
        pytest.skip(f"Ray {OTHER} cannot be installed here")
    return programs


@pytest.fixture
def head(other_ray: Path) -> Iterator[Path]:
    """The folder of a head of that release, in which its address lies."""
    with tempfile.TemporaryDirectory(prefix="other-") as folder:  # short, since sockets lie in it
        start = ["start", "--head", "--block", "--port=0", "--num-cpus=1"]
        environment = os.environ | {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled"}
        environment.pop("PYTHONPATH", None)
        process = subprocess.Popen(
            [str(other_ray / "ray"), *start, "--include-dashboard=false"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        address = Path(folder, "ray", "ray_current_cluster")
        wait_for("the head starts", address.exists, 300)
        yield Path(folder)
        process.terminate()
        process.wait(60)


def test_a_study_is_reported_both_releases_and_what_to_do(head: Path, tmp_path: Path):
    joining = {"RAY_TMPDIR": str(head), "RAY_ADDRESS": "auto", "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, "-m", "study", "quickstart", "tracking.tracker=none"],
        cwd=tmp_path,
        env=os.environ | joining,
        capture_output=True,
        text=True,
        check=False,
    )
    said = " ".join(done.stderr.split())
    assert done.returncode == 2, said
    assert f"The cluster was started with: Ray: {OTHER} Python: " in said
    assert f"was started with: Ray: {version('ray')} Python: " in said
    assert "Traceback" not in said
