"""What some faults of a campaign need before their study begins: a clock, a disk, a limit.

Each is of that study's processes alone; the machine keeps its own.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.benchmarks.reliability.campaign_study import Place, mount, unmount

SMALL = 64
"""Megabytes of a small temporary folder, and of a container's /dev/shm."""
CGROUPS = Path("/sys/fs/cgroup")


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


CONDITIONS: Mapping[str, Callable[[Place], None]] = {
    "clock jumps": fake_clock,
    "temporary folder full": small_temporary_folder,
    "temporary folder full for good": small_temporary_folder,
    "stale Ray address": own_temporary_folder,
    "little shared memory": small_shared_memory,
    "worker out of memory": memory_group,
}
"""By fault."""
