"""Where trials would run: whether a cluster answers, and what this machine has without one."""

import os
from urllib.parse import urlsplit

from study.config.schema import ResourcesConfig
from study.errors import StudyError
from study.method.device import gpus_here
from study.storage.network import silence

ADDRESS = "RAY_ADDRESS"
"""The environment variable that names the cluster to join."""
ANSWERS_WITHIN = 10.0
"""How many seconds a cluster may take to answer."""
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
"""An empty frame of settings, which begins a talk by HTTP/2, and so by gRPC."""


def joins_cluster() -> bool:
    """Return whether trials run in a cluster, rather than in a Ray that is started for them."""
    return os.environ.get(ADDRESS, "local") not in ("", "local") or _was_started_here()


def _was_started_here() -> bool:
    """Return whether ``ray start`` has made this machine part of a cluster."""
    from study.search.internals import in_a_cluster  # imports Ray, which takes seconds

    return in_a_cluster()


def refuse_silent_cluster() -> None:
    """Raise if ``$RAY_ADDRESS`` names a cluster that does not answer.

    Ray itself tries for two minutes, and then ends the process.

    Raises:
        StudyError: there is none; the message says what is allowed.
    """
    address = os.environ.get(ADDRESS, "")
    if address in ("", "local"):
        return
    allowed = (
        "start the cluster, correct the address (HOST:PORT, as `ray start --head` prints it), or "
        f"unset {ADDRESS} to run trials on this machine"
    )
    if address == "auto":
        if not _was_started_here():
            raise StudyError(f"is 'auto', but no `ray start` has been here; {allowed}")
        return
    scheme, _, rest = address.rpartition("://")
    if scheme not in ("", "ray"):  # the address of a service, which a plug-in of Ray knows
        return
    try:
        place = urlsplit(f"//{rest}")
        host, port = place.hostname, place.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise StudyError(f"is {address!r}, which is no address of a cluster; {allowed}")
    greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS
    encrypted = os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")
    fault = silence(
        host,
        port,
        ANSWERS_WITHIN,
        greeting=b"" if encrypted else greeting,
        answers=lambda begin: begin[3:4] == SETTINGS[3:4],
    )
    if not fault and not scheme:
        from study.search.internals import cluster_fault  # as below

        # A proxy may have answered in the place of a machine that is not there.
        fault = cluster_fault(address, ANSWERS_WITHIN)
    if fault:
        raise StudyError(f"no Ray cluster answers at {address} ({fault}); {allowed}")


def refuse_too_many_cpus(resources: ResourcesConfig) -> None:
    """Raise if a trial needs more CPU cores than this machine has, and no cluster is joined.

    Raises:
        StudyError: it does; Ray would wait for them for ever.
    """
    if resources.cpus_per_trial <= 1 or joins_cluster():  # every machine has one
        return
    from study.search.internals import cpus_here  # as above

    _refuse(resources.cpus_per_trial, cpus_here(), "CPU core")


def refuse_too_many_gpus(resources: ResourcesConfig) -> None:
    """Raise if a trial needs more GPUs than this machine has, and no cluster is joined.

    Raises:
        StudyError: it does; Ray would wait for them for ever.
    """
    if resources.gpus_per_trial > 0 and not joins_cluster():
        _refuse(resources.gpus_per_trial, len(gpus_here()), "GPU")


def _refuse(wanted: float, there: float, what: str) -> None:
    if wanted > there:
        allowed = f"{there:g} or less" if there else "0"
        raise StudyError(
            f"{wanted:g} a trial, and this machine has {there:g} {what}{'s' * (there != 1)}; "
            f"allowed is {allowed}, or a cluster ({ADDRESS}, or `ray start` on this "
            "machine)"
        )
