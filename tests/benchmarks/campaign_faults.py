"""What happens to the studies of a campaign: each fault is one that machines and people make."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
from campaign_study import Place

from tests.damage import cut, flip

LIE = "200 {}"
WORKER = "ray::ResourceTrainable"
"""How the title of a process begins that runs trials."""
DIE_WITHIN = 3.0
"""Seconds in which the workers of a driver end that was killed."""


class Fault:
    """Something that happens to a study while it runs, and how it ends.

    Args:
        chance: draws what there is to draw.
    """

    wait: float | None = None
    """How long the study waits for storage, in seconds; None leaves that as it is."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.did = "nothing, as the study had ended"
        """What was done, for the table."""

    def meet(self, place: Place) -> None:
        """Do it."""
        raise NotImplementedError

    def end(self, place: Place) -> None:
        """Bring back what was away, once the driver has ended."""


def killing(name: str) -> type[Fault]:
    """Return the fault that kills a process: the driver, or one below it."""

    class Killing(Fault):
        def meet(self, place: Place) -> None:
            process = place.driver() if name == "driver" else place.process(name)
            if process is not None:
                process.kill()
                self.did = f"killed {name}"

    return Killing


def stopping(name: str) -> type[Fault]:
    """Return the fault that lets a process stand still for some seconds."""

    class Stopping(Fault):
        def meet(self, place: Place) -> None:
            process = place.driver() if name == "driver" else place.process(name)
            if process is None:
                return
            seconds = self.chance.uniform(1, 15)
            with contextlib.suppress(psutil.Error):
                process.suspend()
                self.did = f"stopped {name} for {seconds:.0f} s"
                time.sleep(seconds)
                process.resume()

    return Stopping


def damaging(how: str, damage: Callable[[Path], object]) -> type[Fault]:
    """Return the fault that kills the driver and damages one of the study's files."""

    class Damaging(Fault):
        def meet(self, place: Place) -> None:
            if (driver := place.driver()) is not None:
                driver.kill()

        def end(self, place: Place) -> None:
            time.sleep(DIE_WITHIN)
            files = sorted(
                path
                for path in place.folder.path.rglob("*")
                if path.is_file() and path.stat().st_size and "tune" not in path.parts
            )
            if not files:
                return
            path = self.chance.choice(files)
            place.copies[str(path)] = path.read_bytes()
            damage(path)
            self.did = f"{how} {path.relative_to(place.folder.path)}"

    return Damaging


class _OnDisk(Fault):
    """A fault of the disk that the study is on, which a bind mount stands in for."""

    for_good = False
    _since = 0.0

    def meet(self, place: Place) -> None:
        self.break_it(place)
        self._since = time.monotonic()
        self.did = type(self).__name__.lower()
        if not self.for_good:
            time.sleep(self.chance.uniform(1, 8))
            self.mend(place)

    def end(self, place: Place) -> None:
        if self.for_good and self._since:
            self.did += f", given up after {time.monotonic() - self._since:.0f} s"
            self.mend(place)

    def break_it(self, place: Place) -> None:
        """Break it."""
        raise NotImplementedError

    def mend(self, place: Place) -> None:
        """Mend it."""
        raise NotImplementedError


class Away(_OnDisk):
    """The shared folder is an empty one for a while."""

    def break_it(self, place: Place) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place.storage)], check=True)

    def mend(self, place: Place) -> None:
        subprocess.run(["umount", "--lazy", str(place.storage)], check=True)


class ReadOnly(_OnDisk):
    """The folder cannot be written any more, which no waiting mends."""

    for_good = True

    def break_it(self, place: Place) -> None:
        storage = str(place.storage)
        subprocess.run(["mount", "--bind", storage, storage], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", storage], check=True)

    def mend(self, place: Place) -> None:
        subprocess.run(["umount", "--lazy", str(place.storage)], check=True)


class _ForGood(_OnDisk):
    """A fault that lasts until the study gives up, which is mostly told to wait for seconds."""

    for_good = True

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.wait = chance.choice([5.0, 5.0, 5.0, None])


class AwayForGood(_ForGood, Away):
    """The shared folder does not come back before the study gives up."""


class Full(_OnDisk):
    """The disk is full: a file may not grow, whoever writes it."""

    def break_it(self, place: Place) -> None:
        """Fill the small disk that the study is on."""
        self._ballast = place.storage / "ballast"
        with self._ballast.open("wb", buffering=0) as file:
            for size in (2**20, 2**12):  # the last page as well
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def mend(self, place: Place) -> None:
        self._ballast.unlink(missing_ok=True)


class FullForGood(_ForGood, Full):
    """The disk stays full until the study gives up."""


def answering(fault: str) -> type[Fault]:
    """Return the fault that MLflow answers so for some seconds, or calls get no answer."""

    class Answering(Fault):
        def meet(self, place: Place) -> None:
            seconds = self.chance.uniform(2, 20)
            place.proxy.slow_seconds = 3.0
            if fault == LIE:
                place.proxy.judge = lambda path, body: (
                    LIE if body and "search" not in path and "create" not in path else ""
                )
            else:
                place.proxy.fail(fault)
            self.did = f"MLflow: {fault} for {seconds:.0f} s"
            time.sleep(seconds)
            place.proxy.mend()

        def end(self, place: Place) -> None:
            place.proxy.mend()

    return Answering


class Dead(Fault):
    """MLflow dies, and is started again."""

    def meet(self, place: Place) -> None:
        place.server.kill()
        seconds = self.chance.uniform(1, 20)
        self.did = f"MLflow dead for {seconds:.0f} s"
        time.sleep(seconds)
        place.server.start()


class Restored(Fault):
    """MLflow's database is put back as it was some seconds before."""

    def meet(self, place: Place) -> None:
        database, backup = place.server.database, place.path / "backup.db"
        place.server.kill()
        shutil.copy(database, backup)
        place.server.start()
        seconds = self.chance.uniform(2, 15)
        time.sleep(seconds)
        place.server.kill()
        for name in (f"{database}-wal", f"{database}-shm"):
            Path(name).unlink(missing_ok=True)
        shutil.copy(backup, database)
        place.server.start()
        self.did = f"MLflow restored from a backup of {seconds:.0f} s ago"


FAULTS: Mapping[str, type[Fault]] = {
    "driver killed": killing("driver"),
    "worker killed": killing(WORKER),
    "agent killed": killing("ray::RuntimeEnvAgent"),
    "raylet killed": killing("raylet"),
    "GCS killed": killing("gcs_server"),
    "driver stands still": stopping("driver"),
    "worker stands still": stopping(WORKER),
    "file cut": damaging("cut", cut),
    "bit flipped": damaging("flipped", flip),
    "file deleted": damaging("deleted", Path.unlink),
    "storage away": Away,
    "storage away for good": AwayForGood,
    "storage read-only": ReadOnly,
    "disk full": Full,
    "disk full for good": FullForGood,
    "MLflow dead": Dead,
    "MLflow slow": answering("slow"),
    "MLflow fails": answering("500"),
    "MLflow lies": answering(LIE),
    "MLflow restored": Restored,
}
