"""A head of `ray start` on this machine, alive and then killed: what a study does about it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SESSION = """
import logging, ray
from study.config.schema import StudyConfig
from study.errors import StudyError
from study.search.driver import ray_session

logging.basicConfig(level=logging.WARNING, format="said: %(message)s")
try:
    with ray_session(StudyConfig()):
        print("joined", ray.get_runtime_context().gcs_address)
except StudyError as error:
    print("refused", error)
"""


@dataclass
class Head:
    """A head that has been started, in a home and a temporary folder of its own."""

    folder: Path
    environment: dict[str, str]

    @property
    def file(self) -> Path:
        """The file in which Ray keeps the head's address."""
        return self.folder / "ray" / "ray_current_cluster"

    def session(self, **more: str) -> str:
        """Return what is printed where a study opens a session."""
        return subprocess.run(
            [sys.executable, "-c", SESSION],
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        ).stdout

    def check(self, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a check of a study, as a user does."""
        return subprocess.run(
            [sys.executable, "-m", "study", "run", "quickstart", "--check"],
            cwd=self.folder,
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def kill(self) -> None:
        """Kill all of its processes, so that nothing tidies up."""
        for process in psutil.process_iter(["cmdline"]):
            if str(self.folder) in " ".join(process.info["cmdline"] or ()):
                process.kill()
                process.wait()


@pytest.fixture
def head() -> Iterator[Head]:
    with tempfile.TemporaryDirectory(prefix="head-") as name:  # short, since sockets lie in it
        folder = Path(name)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        environment |= {"HOME": name, "RAY_TMPDIR": name, "RAY_USAGE_STATS_ENABLED": "0"}
        # A user's token, which `ray start` finds by itself.
        ray = [sys.executable, "-m", "ray.scripts.scripts"]
        subprocess.run([*ray, "get-auth-token", "--generate"], env=environment, check=True)
        start = ["start", "--head", "--port=0", "--num-cpus=1", "--include-dashboard=false"]
        subprocess.run(
            [*ray, *start], env=environment, stdout=subprocess.DEVNULL, check=True, timeout=300
        )
        started = Head(folder, environment)
        yield started
        started.kill()
        shutil.rmtree(folder / "ray", ignore_errors=True)


def test_a_head_is_named_joined_or_refused_as_it_lives_and_dies(head: Head) -> None:
    address = head.file.read_text()

    beside = head.session()
    assert "joined 127.0.0.1:" in beside, "a Ray of its own"
    assert beside.count(address) == 1
    assert "RAY_ADDRESS=auto" in beside
    assert head.session(RAY_ADDRESS="auto") == f"joined {address}\n"
    assert f"{address}, and" in head.check().stdout.splitlines()[-1]

    bootstrap = head.folder / "ray_bootstrap_config.yaml"
    bootstrap.touch()
    assert head.session() == f"joined {address}\n"
    assert "joined 127.0.0.1:" in head.session(RAY_ADDRESS="local")

    head.kill()
    assert head.file.read_text() == address, "as a head that is killed leaves it"
    refused = head.session()
    assert refused.startswith(f"refused {head.file}: no Ray cluster answers at {address} (")
    assert refused.count("\n") == 1
    check = head.check()
    assert check.returncode == 2
    assert f"{head.file}: no Ray cluster answers at {address} (" in check.stdout
    by_auto = head.session(RAY_ADDRESS="auto")
    assert by_auto.startswith("refused RAY_ADDRESS: ")
    assert str(head.file) in by_auto
    assert by_auto.count("\n") == 1

    bootstrap.unlink()
    assert head.session().startswith("joined 127.0.0.1:"), "nothing is said of a dead one"
    assert address not in head.check().stdout
