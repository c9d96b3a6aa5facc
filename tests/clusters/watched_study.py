"""``study/run.py`` whose trials note what they load and where they run.

    python tests/clusters/watched_study.py NOTES ARGUMENT…

NOTES is a file of JSON lines: ``what`` was done, by which ``process`` on which ``node``. A file
``wait_for`` beside it states how many processes must have run an epoch before a trial goes on from
its second one: short trials would else all be run by the first processes to start, and would have
ended before a test can act on them.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from study import run
from study.search import driver
from study.search.trainable import ClipFitTrainable
from study.storage.result_folder import JsonObject

NOTES = Path(sys.argv[1])
WAIT_FOR = NOTES.with_name("wait_for")


def note(what: str, **more: Any):
    """Add a line; lines this short are written whole, whoever else writes."""
    node = ray.get_runtime_context().get_node_id()
    line = {"what": what, "node": node, "process": os.getpid(), "time": time.time(), **more}
    with NOTES.open("a") as file:
        file.write(json.dumps(line) + "\n")


def too_few_processes_train() -> bool:
    """Whether fewer have noted an epoch than ``wait_for`` says."""
    noted = map(json.loads, NOTES.read_text().splitlines())
    train = {(n["node"], n["process"]) for n in noted if n["what"] == "epoch"}
    return len(train) < int(WAIT_FOR.read_text())


class Watched(ClipFitTrainable):
    """A trainable that notes what its process loads, once it does, and each epoch."""

    step_seconds = 0

    def setup(self, config: JsonObject, **given: Any):
        """See `ClipFitTrainable`."""
        from study.data.images.table import ImageTable
        from study.search import trial_worker

        self._noting(trial_worker, "load_backbone", lambda name, **_: str(name))
        self._noting(ImageTable, "__init__", lambda _, path: Path(path).name)
        trial_worker.trial_device = lambda: "cpu"  # there are none but in name
        super().setup(config, **given)

    def step(self) -> JsonObject:
        """See `ClipFitTrainable`."""
        result = super().step()
        mapped = {
            line.split()[-1].rpartition("/")[2]
            for line in Path("/proc/self/maps").read_text().splitlines()
            if line.endswith((".arrow", "model.safetensors"))
        }
        note("epoch", trial=self.worker.trial.trial_id, mapped=sorted(mapped))
        while WAIT_FOR.exists() and self.iteration and too_few_processes_train():
            time.sleep(0.2)
        return result

    def _noting(self, module: Any, name: str, tell: Callable[..., str]):
        load = getattr(module, name)
        if not getattr(load, "noted", False):  # another trial of this process was first

            def noted(*arguments: Any, **options: Any) -> Any:
                note(name, file=tell(*arguments, **options))
                return load(*arguments, **options)

            noted.noted = True  # type: ignore[attr-defined]
            setattr(module, name, noted)


def main() -> int:
    """Run it; the driver notes what it puts into the object store."""
    put = ray.put

    def noted(value: Any, **options: Any) -> Any:
        note("put", size=len(ray.cloudpickle.dumps(value)))
        return put(value, **options)

    ray.put = noted
    driver.ClipFitTrainable = Watched  # type: ignore[misc]
    return run.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
