"""Starts drivers of studies: a line of JSON on stdin for each.

Each is a fork of this process, which has imported what takes seconds to import, and runs the
command line from there. For each line the id of its process is printed, and then its exit status.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import transformers.models.auto.tokenization_auto
import transformers.models.clip.image_processing_clip
import transformers.models.clip.modeling_clip  # noqa: F401

import study.commands.execution
import study.search.driver
import study.storage.atomic
from study.run import main
from study.search.trainable import ClipFitTrainable

# Each short epoch is written alone, as long ones are, so that faults meet the states of trials.
EachEpoch: Any = type("ClipFitTrainable", (ClipFitTrainable,), {"step_seconds": 0})
study.search.driver.ClipFitTrainable = EachEpoch  # type: ignore[misc]


def _with_customization() -> str:
    """Give a search path that lets Python, as it starts, shorten the wait of a worker as well."""
    return os.pathsep.join([str(Path(__file__).with_name("workers")), *sys.path[1:]])


def drive(order: dict[str, Any]) -> NoReturn:
    """Run the command line in a place, its output in a file."""
    os.chdir(order["place"])
    os.environ |= order["environment"]
    tempfile.tempdir = None  # which an import may have looked up
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    if order["wait"] is not None:
        os.environ |= {"TEST_WAIT": str(order["wait"]), "PYTHONPATH": _with_customization()}
        study.storage.atomic.WAIT_SECONDS = order["wait"]
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
