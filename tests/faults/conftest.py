"""What tests of faults share: drivers that die, and a disk that can be filled or taken away."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest


class Drivers:
    """Processes of studies, one after the other."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("drivers.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def run(
        self,
        arguments: list[str],
        place: Path,
        *,
        faults: Sequence[dict[str, Any]] = (),
        seconds: float | None = None,
        wait: float | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> tuple[int, str]:
        """Run a study until it ends or dies; give its exit status and its output.

        Args:
            arguments: of the command line.
            place: its working folder.
            faults: what it dies while writing.
            seconds: after which it is killed, if it is still there.
            wait: how long it and its workers wait for storage that is away, in seconds.
            meanwhile: is called once it runs.
        """
        order = {"arguments": arguments, "place": str(place), "wait": wait, "faults": list(faults)}
        order |= {"store": f"sqlite:///{place / 'mlflow.db'}", "output": str(place / "output")}
        assert self._server.stdin is not None
        print(json.dumps(order), file=self._server.stdin, flush=True)
        pid = int(self._line())
        killer = threading.Timer(seconds or 1e6, os.kill, (pid, signal.SIGKILL))
        killer.daemon = True
        killer.start()
        meanwhile()
        status = int(self._line())
        killer.cancel()
        return status, (place / "output").read_text(encoding="utf-8")

    def close(self) -> None:
        """End the process that the studies are forks of."""
        self._server.communicate()

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()


class Disk:
    """A few megabytes of memory, mounted a second time where they are used from."""

    def __init__(self, place: Path, megabytes: int) -> None:
        self.path = place / "shared"
        self._kept = place / "kept"
        for folder in (self.path, self._kept):
            folder.mkdir()
        _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(self._kept))
        self.bring_back()

    def fill(self) -> None:
        """Leave no byte free."""
        with (self._kept / "ballast").open("wb", buffering=0) as ballast:
            for size in (2**20, 2**12):  # the last page as well
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        """Give the space back."""
        (self._kept / "ballast").unlink()

    def take_away(self) -> None:
        """Leave an empty folder, as where a share is not mounted."""
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def bring_back(self) -> None:
        """Mount it again, as it was."""
        _mount("--bind", str(self._kept), str(self.path))

    def allow_writing(self, allowed: bool) -> None:
        """Mount it read-only, or not."""
        _mount("-o", f"remount,bind,{'rw' if allowed else 'ro'}", str(self.path))

    def close(self) -> None:
        """Take both mounts away for good."""
        for folder in (self.path, self._kept):
            if os.path.ismount(folder):
                subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Four megabytes."""
    disk = Disk(tmp_path, 4)
    yield disk
    disk.close()


@pytest.fixture(scope="module")
def drivers() -> Iterator[Drivers]:
    drivers = Drivers()
    yield drivers
    drivers.close()
