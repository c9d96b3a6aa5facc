"""Find where trials run: in a cluster that answers, or on this machine with what it has."""

import os
import platform
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from study.config.schema import ResourcesConfig
from study.errors import StudyError
from study.method.device import list_gpus
from study.storage.atomic import FULL, with_retries

ADDRESS = "RAY_ADDRESS"
"""The environment variable that names the cluster to join."""
BOOTSTRAP = "~/ray_bootstrap_config.yaml"
"""The file that ``ray up`` leaves on the head of the cluster that it starts."""
PROBE = 2**16
"""How many bytes must fit beside Ray's temporary files."""
ANSWERS_WITHIN = 11.0
"""How many seconds a cluster that is to be joined may take to answer.

Ray's own client warns of silence on the standard error after 5 and after 10 s.
"""


def joins_cluster() -> bool:
    """Return whether trials run in a cluster, rather than in a Ray that is started for them.

    A cluster is joined if ``$RAY_ADDRESS`` names one, as in a job of ``ray job submit``, and on the
    head that ``ray up`` has started, where ``ray submit`` runs a study.
    """
    return cluster_address() != "local"


def cluster_address() -> str:
    """Return the address of the cluster to join, or ``local`` for a Ray of this study alone."""
    named = os.environ.get(ADDRESS)
    on_file = address_on_file()
    if named == "auto":
        return on_file or "auto"
    # Raises neither where the home folder is nobody's nor where there is none.
    is_head_of_ray_up = os.path.exists(os.path.expanduser(BOOTSTRAP))  # noqa: PTH110, PTH111
    if not named and on_file and is_head_of_ray_up:
        return on_file
    return named or "local"


def source_of_address() -> str:
    """Return where the address of the cluster to join comes from: the variable, or Ray's file."""
    return ADDRESS if os.environ.get(ADDRESS) else str(address_file())


def address_file() -> Path:
    """Return the file in which ``ray start`` leaves its cluster's address.

    It is in Ray's folder for temporary files. Importing Ray to ask for it would take seconds.
    """
    folder = os.environ.get("RAY_TMPDIR")
    if folder is None and sys.platform == "linux":
        folder = os.environ.get("TMPDIR")
    if folder is None:
        # Python itself finds none on a full disk.
        folder = tempfile.gettempdir()
        if sys.platform in ("linux", "darwin"):
            folder = "/tmp"  # noqa: S108, it is where Ray writes
    return Path(folder, "ray", "ray_current_cluster")


def wait_for_temporary_space() -> None:
    """Wait while the disk of Ray's temporary files is full, where no worker can start.

    Raises:
        StorageError: it is full for too long.
    """
    folder = address_file().parent

    def write() -> None:
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(PROBE))
        except OSError as error:
            if error.errno in FULL:
                raise

    with_retries(folder, write)


def address_on_file() -> str | None:
    """Return the address that the last ``ray start`` on this machine left; None if there is none.

    The cluster may have died since. ``ray stop`` removes the file.
    """
    try:
        text = address_file().read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.strip() or None


def unjoined_cluster() -> str | None:
    """Return a sentence about a live cluster of this machine that is not joined, if there is one.

    ``RAY_ADDRESS=local`` says that it is not wanted, so that nothing need be said.
    """
    address = address_on_file()
    if address is None or os.environ.get(ADDRESS) or joins_cluster():
        return None
    from study.search.ray_internals import runs_here  # imports Ray, which takes seconds

    if not runs_here(address):
        return None
    return (
        f"a Ray cluster runs at {address}, and trials do not run there: they run in a Ray of their "
        f"own on this machine; {ADDRESS}=auto joins the cluster"
    )


def refuse_silent_cluster() -> None:
    """Raise if the cluster to join does not answer.

    Ray itself tries for two minutes, and then ends the process.

    Raises:
        StudyError: it does not answer; the message says what is allowed.
    """
    address = cluster_address()
    if address == "local":
        return
    scheme, _, place = address.rpartition("://")
    if scheme not in ("", "ray"):  # the address of a service, which a plug-in of Ray knows
        return
    file = address_file()
    if address == "auto":
        raise StudyError(
            f"is 'auto', but no `ray start` has been here, which would have written {file}; start "
            f"the cluster, or unset {ADDRESS} to run trials on this machine"
        )
    fault = _find_fault(place, by_client=bool(scheme))
    if fault is None:
        if not scheme:
            _refuse_other_versions(place)
        return
    silence = f"no Ray cluster answers at {address} ({fault})"
    named = os.environ.get(ADDRESS)
    if not named:
        raise StudyError(
            f"{silence}, though {BOOTSTRAP} says that `ray up` has made this machine the head of "
            f"one; start it again by `ray up`, or set {ADDRESS}=local to run trials on this machine"
        )
    if named == "auto":
        raise StudyError(
            f"is 'auto', and {silence}, the address in {file}; start the cluster, or unset "
            f"{ADDRESS} to run trials on this machine"
        )
    raise StudyError(
        f"{silence}; start the cluster, correct the address (HOST:PORT, as `ray start --head` "
        f"prints it), or unset {ADDRESS} to run trials on this machine"
    )


def _find_fault(place: str, *, by_client: bool) -> str | None:
    """Return why no cluster answers at a place, to Ray's client or to Ray; None if one does."""
    if not _is_place(place):
        return "which is no address of a cluster"
    from study.search.ray_internals import client_fault, cluster_fault, use_token  # as above

    if by_client:
        return client_fault(place, ANSWERS_WITHIN)
    if os.environ.get(ADDRESS, "auto") in ("", "auto"):
        use_token()  # an address that is named may be of a cluster without tokens
    return cluster_fault(place, ANSWERS_WITHIN)


def _refuse_other_versions(address: str) -> None:
    """Raise if the cluster that answers at an address has another Ray or Python than this process.

    Raises:
        StudyError: it does; the message has both versions and what is allowed.
    """
    from study.search.ray_internals import other_versions  # as above

    versions = other_versions(address)
    if versions is not None:
        theirs, ours = versions
        raise StudyError(
            f"the Ray cluster at {address} has {theirs}, and this process on {platform.node()} has "
            f"{ours}; Ray wants them equal: install those of the cluster here, start the cluster "
            f"anew with these, or set {ADDRESS}=local to run trials on this machine"
        )


def _is_place(address: str) -> bool:
    """Return whether an address has the form HOST:PORT."""
    try:
        place = urlsplit(f"//{address}")
        return bool(place.hostname and place.port)
    except ValueError:
        return False


def refuse_too_many_cpus(resources: ResourcesConfig) -> None:
    """Raise if a trial needs more CPU cores than this machine has, and no cluster is joined.

    Raises:
        StudyError: it does; Ray would wait for them for ever.
    """
    if resources.cpus_per_trial <= 1 or joins_cluster():  # every machine has one
        return
    from study.search.ray_internals import cpus_here  # as above

    _refuse(resources.cpus_per_trial, cpus_here(), "CPU core")


def refuse_too_many_gpus(resources: ResourcesConfig) -> None:
    """Raise if a trial needs more GPUs than this machine has, and no cluster is joined.

    Raises:
        StudyError: it does; Ray would wait for them for ever.
    """
    if resources.gpus_per_trial > 0 and not joins_cluster():
        _refuse(resources.gpus_per_trial, len(list_gpus()), "GPU")


def _refuse(needed: float, available: float, unit: str) -> None:
    """Raise StudyError if a trial needs more of a unit than this machine has."""
    if needed <= available:
        return
    if available != 1:
        unit += "s"
    allowed = f"{available:g} or less" if available else "0"
    raise StudyError(
        f"{needed:g} a trial, and this machine has {available:g} {unit}; "
        f"allowed is {allowed}, or a cluster that {ADDRESS} names"
    )
