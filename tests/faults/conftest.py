"""What tests of faults share: drivers of studies, and a disk that can be filled or taken away."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.damage import fill_disk
from tests.study_writer import MakeStudy, StudyWriter

from .drivers_client import Drivers
from .proxy import Proxy


class Disk:
    """A few megabytes of memory, mounted a second time where they are used from."""

    def __init__(self, place: Path):
        self.path = place / "shared"
        self._kept = place / "kept"
        for folder in (self.path, self._kept):
            folder.mkdir()
        _mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(self._kept))
        self.bring_back()

    def fill(self):
        """Leave no byte free."""
        fill_disk(self._kept)

    def free(self):
        """Give the space back."""
        (self._kept / "ballast").unlink()

    def take_away(self):
        """Leave an empty folder, as where a share is not mounted."""
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def bring_back(self):
        """Mount it again, as it was."""
        _mount("--bind", str(self._kept), str(self.path))

    def close(self):
        """Take both mounts away for good."""
        for folder in (self.path, self._kept):
            if os.path.ismount(folder):
                subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(*arguments: str):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with closing(Disk(tmp_path)) as disk:
        yield disk


@pytest.fixture
def make(tmp_path: Path) -> MakeStudy:
    """Makes a study of a name, without trials."""
    return lambda name: StudyWriter(tmp_path / name)


@pytest.fixture(scope="module")
def drivers() -> Iterator[Drivers]:
    with closing(Drivers()) as drivers:
        yield drivers


@pytest.fixture
def proxy(mlflow_server: str) -> Iterator[Proxy]:
    """What makes the faults of MLflow's server, which is behind it."""
    with closing(Proxy(mlflow_server)) as proxy:
        yield proxy
