"""Starts drivers of studies that die as they are told to: a line of JSON on stdin for each.

Each is a fork of this process, which has imported what takes seconds to import, and runs the
command line from there. For each line the id of its process is printed, and then its exit status.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import transformers.models.auto.tokenization_auto
import transformers.models.clip.image_processing_clip
import transformers.models.clip.modeling_clip  # noqa: F401

import study.storage.atomic
import study.workflow.run_study
from study.run import main

CUT = 7
"""Bytes that the last write of a half-written file lacks."""


def die() -> NoReturn:
    """End at once, as by a power cut or the kernel's killer."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_while_writing(name: str, *, when: str, turn: int) -> None:
    """Die at the turn-th time that a file whose name begins so is written.

    Args:
        name: how its name begins, or that of the file that it is renamed from.
        when: ``half``: its last bytes are missing; ``written``: all is there, under the temporary
            name where it has one; ``renamed``: right after it got its own.
        turn: from 1.
    """
    left = [turn]
    fsync = os.fsync
    replace = os.replace

    def is_it(path: str) -> bool:
        if not Path(path).name.removeprefix(".").startswith(name) or Path(path).is_dir():
            return False
        left[0] -= 1
        return left[0] == 0

    def dying_fsync(fd: Any) -> None:
        if when != "renamed" and is_it(str(Path(f"/proc/self/fd/{fd}").readlink())):
            if when == "half":
                os.ftruncate(fd, max(0, os.fstat(fd).st_size - CUT))
            fsync(fd)
            die()
        fsync(fd)

    def dying_replace(src: Any, dst: Any, **options: Any) -> None:
        replace(src, dst, **options)
        if when == "renamed" and is_it(os.fspath(dst)):
            die()

    os.fsync, os.replace = dying_fsync, dying_replace


def _with_customization() -> str:
    """Give a search path that lets Python, as it starts, shorten the wait of a worker as well."""
    return os.pathsep.join([str(Path(__file__).with_name("workers")), *sys.path[1:]])


def drive(order: dict[str, Any]) -> NoReturn:
    """Run the command line in a place, its output in a file."""
    os.chdir(order["place"])
    os.environ["MLFLOW_TRACKING_URI"] = order["store"]
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    if order["wait"] is not None:
        os.environ |= {"TEST_WAIT": str(order["wait"]), "PYTHONPATH": _with_customization()}
        study.storage.atomic.WAIT_SECONDS = order["wait"]
    for fault in order["faults"]:
        die_while_writing(**fault)
    code = main(order["arguments"])
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            drive(json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
