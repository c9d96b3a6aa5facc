"""What happens to the studies of a campaign: each fault is one that machines and people make.

A fault is a generator. Up to its first `yield` it meets the study while that runs; the rest follows
once the driver has ended, and brings back what was away. It yields what it did. Some faults need
something before their study begins: a clock, a disk, a limit. Each is of that study's processes
alone; the machine keeps its own.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from tests.benchmarks.reliability.campaign_study import Place, mount, unmount
from tests.damage import cut, fill_disk, flip

Fault = Callable[[Place, random.Random], Iterator[str]]
WORKER = "ray::ResourceTrainable"
"""How the title of a process begins that runs trials."""
DIE_WITHIN = 3.0
"""Seconds in which the workers of a driver end that was killed."""
SMALL = 64
"""Megabytes of a small temporary folder, and of a container's /dev/shm."""
CGROUPS = Path("/sys/fs/cgroup")


def killing(name: str) -> Fault:
    """Return the fault that kills a process: the driver, or one below it."""

    def fault(place: Place, chance: random.Random) -> Iterator[str]:
        process = place.process(name)
        if process is not None:
            process.kill()
        yield f"killed {process}"

    return fault


def stopping(name: str, least: float = 1, most: float = 15) -> Fault:
    """Return the fault that lets a process stand still for some seconds."""

    def fault(place: Place, chance: random.Random) -> Iterator[str]:
        process, seconds = place.process(name), chance.uniform(least, most)
        with contextlib.suppress(psutil.Error):
            if process is not None:
                process.suspend()
                time.sleep(seconds)
                process.resume()
        yield f"stopped {process} for {seconds:.0f} s"

    return fault


def damaging(damage: Callable[[Path], object]) -> Fault:
    """Return the fault that kills the driver and damages one of the study's files."""

    def fault(place: Place, chance: random.Random) -> Iterator[str]:
        if driver := place.driver():
            driver.kill()
        yield "killed the driver"
        time.sleep(DIE_WITHIN)
        files = []
        for path in sorted(place.folder.path.rglob("*")):
            if path.is_file() and path.stat().st_size and "tune" not in path.parts:
                files.append(path)
        if files:
            path = chance.choice(files)
            place.copies[str(path)] = path.read_bytes()
            damage(path)
            yield f"damaged {path.relative_to(place.folder.path)}"

    return fault


def breaking_disk(
    break_it: Callable[[Path], object],
    repair: Callable[[Path], object],
    *,
    for_good: bool,
    disk: str = "storage",
) -> Fault:
    """Return the fault of a disk of the study, for a while or until the study gives up."""

    def fault(place: Place, chance: random.Random) -> Iterator[str]:
        folder = getattr(place, disk)
        break_it(folder)
        began = time.monotonic()
        if for_good:
            yield "broke the disk for good"
        else:
            time.sleep(chance.uniform(1, 8))
        repair(folder)
        yield f"broke the disk for {time.monotonic() - began:.0f} s"

    return fault


def take_away(folder: Path) -> None:
    """Let the shared folder be an empty one."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)


def forbid_writing(folder: Path) -> None:
    """Let the folder be read-only, which no waiting repairs."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)


def unmount_top(folder: Path) -> None:
    """Take away what was mounted last."""
    subprocess.run(["umount", "--lazy", folder], check=True)


def free(folder: Path) -> None:
    """Give the space back."""
    (folder / "ballast").unlink(missing_ok=True)


def answering(answer: str, *, only_writes: bool = False) -> Fault:
    """Return the fault that MLflow answers all calls, or those that write, so for some seconds."""

    def judge(path: str, body: bytes) -> str:
        writes = body and "search" not in path and "create" not in path
        return answer if writes or not only_writes else ""

    def fault(place: Place, chance: random.Random) -> Iterator[str]:
        place.proxy.slow_seconds = 3.0
        place.proxy.judge = judge
        time.sleep(chance.uniform(2, 20))
        place.proxy.mend()
        yield f"MLflow answered {answer}"

    return fault


def dying(place: Place, chance: random.Random) -> Iterator[str]:
    """Let MLflow die, and start it again."""
    place.server.kill()
    time.sleep(chance.uniform(1, 20))
    place.server.start()
    yield "MLflow was dead"


def restoring(place: Place, chance: random.Random) -> Iterator[str]:
    """Put MLflow's database back as it was some seconds before."""
    database, backup = place.server.database, place.path / "backup.db"
    place.server.kill()
    shutil.copy(database, backup)
    place.server.start()
    seconds = chance.uniform(2, 15)
    time.sleep(seconds)
    place.server.kill()
    for name in (f"{database}-wal", f"{database}-shm"):
        Path(name).unlink(missing_ok=True)
    shutil.copy(backup, database)
    place.server.start()
    yield f"MLflow was restored from a backup of {seconds:.0f} s ago"


def leaving_address(place: Place, chance: random.Random) -> Iterator[str]:
    """Kill the driver, and name a cluster that is gone; at its port there may be something else."""
    if driver := place.driver():
        driver.kill()
    yield "killed the driver"
    listener = place.ends.enter_context(socket.create_server(("127.0.0.1", 0)))
    address = "{}:{}".format(*listener.getsockname())
    silent, named = chance.choice([True, False]), chance.choice(["", "auto", address])
    if not silent:
        listener.close()
    file = place.temporary / "ray" / "ray_current_cluster"
    file.parent.mkdir(exist_ok=True)
    file.write_text(address)
    if named:
        place.environment["RAY_ADDRESS"] = named
    yield f"RAY_ADDRESS was {named!r} and its file named a cluster that was gone, {silent=}"


def beside_another(place: Place, chance: random.Random) -> Iterator[str]:
    """Begin another study while the first runs."""
    place.run_beside()
    yield "another study ran"


def jumping(place: Place, chance: random.Random) -> Iterator[str]:
    """Let the clock of the study jump by a day."""
    jump = chance.choice(["+1d", "-1d"])
    set_clock(place, jump)
    yield f"the clock jumped by {jump}"
    set_clock(place, "+0")
    yield f"the clock jumped by {jump}, and was right when the study went on"


def having_little(place: Place, chance: random.Random) -> Iterator[str]:
    """Do no more: it is so from the beginning."""
    yield f"/dev/shm had {SMALL} MB"


def limiting_memory(place: Place, chance: random.Random) -> Iterator[str]:
    """Let a worker get no more memory, so that the kernel kills it."""
    worker = place.process(WORKER)
    if worker is not None:
        (place.memory_limit.parent / "cgroup.procs").write_text(str(worker.pid))
        place.memory_limit.write_text(str(2**20))
        psutil.wait_procs([worker], timeout=60)
    yield f"limited the memory of {worker}"


class UnavailableError(Exception):
    """A machine cannot make a fault; the draw does not count."""


def fake_clock(place: Place) -> None:
    """Let the study read its clock from a file.

    Raises:
        UnavailableError: the library is not there.
    """
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        raise UnavailableError("no libfaketime (the package faketime of Debian)")
    set_clock(place, "+0")
    words = [f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={place.path / 'clock'}"]
    place.drive_by("env", *words, "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1")


def set_clock(place: Place, offset: str) -> None:
    """Let the clock of the study differ so much from the machine's."""
    new = place.path / "new clock"
    new.write_text(offset)
    new.replace(place.path / "clock")


def small_temporary_folder(place: Place) -> None:
    """Give the study a small disk for temporary files, which Ray's sockets and logs are on."""
    own_temporary_folder(place)
    mount(place.temporary, f"size={SMALL}m")
    place.ends.callback(unmount, place.temporary)


def own_temporary_folder(place: Place) -> None:
    """Give the study a temporary folder; its path is short, as those of sockets must be."""
    place.temporary = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    place.ends.callback(shutil.rmtree, place.temporary, ignore_errors=True)
    place.environment |= dict.fromkeys(("TMPDIR", "RAY_TMPDIR"), str(place.temporary))


def small_shared_memory(place: Place) -> None:
    """Let the study have as little shared memory as a container has by default.

    Raises:
        UnavailableError: nothing can be mounted in a namespace of one's own.
    """
    script = f'mount -t tmpfs -o size={SMALL}m tmpfs /dev/shm && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        raise UnavailableError("no mount namespace")
    place.drive_by(*prefix)


def memory_group(place: Place) -> None:
    """Make a control group, of version 1 or 2, that can limit memory.

    Raises:
        UnavailableError: none can be made.
    """
    root, limit = CGROUPS / "memory", "memory.limit_in_bytes"
    try:
        if not root.exists():
            root, limit = CGROUPS, "memory.max"
            (root / "cgroup.subtree_control").write_text("+memory")
        place.memory_limit = root / f"campaign-{place.path.name}" / limit
        place.memory_limit.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"no control group for memory ({error})") from error
    # It stays where a worker is still about to end.
    place.ends.callback(lambda: subprocess.run(["rmdir", place.memory_limit.parent], check=False))


def after(prepare: Callable[[Place], None], fault: Fault) -> Fault:
    """Return a fault for which a place is prepared before the study begins."""

    def prepared(place: Place, chance: random.Random) -> Iterator[str]:
        prepare(place)
        return fault(place, chance)

    return prepared


FAULTS: Mapping[str, Fault] = {
    "driver killed": killing("driver"),
    "worker killed": killing(WORKER),
    "agent killed": killing("ray::RuntimeEnvAgent"),
    "raylet killed": killing("raylet"),
    "GCS killed": killing("gcs_server"),
    "driver stands still": stopping("driver"),
    "worker stands still": stopping(WORKER),
    "file cut": damaging(cut),
    "bit flipped": damaging(flip),
    "file deleted": damaging(Path.unlink),
    "storage away": breaking_disk(take_away, unmount_top, for_good=False),
    "storage away for good": breaking_disk(take_away, unmount_top, for_good=True),
    "storage read-only": breaking_disk(forbid_writing, unmount_top, for_good=True),
    "disk full": breaking_disk(fill_disk, free, for_good=False),
    "disk full for good": breaking_disk(fill_disk, free, for_good=True),
    "MLflow dead": dying,
    "MLflow slow": answering("slow"),
    "MLflow fails": answering("500"),
    "MLflow lies": answering("200 {}", only_writes=True),
    "MLflow restored": restoring,
    "driver stands still for minutes": stopping("driver", 600, 600),
    "stale Ray address": after(own_temporary_folder, leaving_address),
    "another study": beside_another,
    "clock jumps": after(fake_clock, jumping),
    "temporary folder full": after(
        small_temporary_folder, breaking_disk(fill_disk, free, for_good=False, disk="temporary")
    ),
    "temporary folder full for good": after(
        small_temporary_folder, breaking_disk(fill_disk, free, for_good=True, disk="temporary")
    ),
    "little shared memory": after(small_shared_memory, having_little),
    "worker out of memory": after(memory_group, limiting_memory),
}
