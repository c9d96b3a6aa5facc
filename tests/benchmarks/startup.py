"""What a study waits for until its first result, part by part, in a fresh process.

    python tests/benchmarks/startup.py                 # the embedded study
    python tests/benchmarks/startup.py base_to_new

The parts are taken one after the other, so that their sum is more than a study takes, which does
some of them at once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "configs"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", nargs="?", default="quickstart")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--here", action="store_true", help="once, in this process, as JSON")
    options = parser.parse_args()
    if options.here:
        from study.garbage import uncollected

        with tempfile.TemporaryDirectory() as folder, uncollected():  # as the command begins
            print(json.dumps(take(options.config, Path(folder))))
        return
    from paired import machine

    print(machine(), end="\n\n")
    print(parts(options.config, options.rounds))


def parts(config: str, rounds: int) -> str:
    """Measure in this many fresh processes, one after the other; give the table of medians."""
    from statistics import median

    from paired import table

    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        command = [sys.executable, __file__, config, "--here"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        for name, seconds in json.loads(done.stdout.splitlines()[-1]).items():
            found.setdefault(name, []).append(seconds)
    rows = [[name, f"{median(seconds):.1f}"] for name, seconds in found.items()]
    title = f"What {config} waits for until its first result, medians of {rounds}"
    return table(title, ("", "wall seconds"), rows)


def take(name: str, place: Path) -> dict[str, float]:
    """Do what a study does until its first result; return the wall seconds of each part."""
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[part] = time.perf_counter() - began

    with timed("imports, to the check"):
        from study.config.loading import dump_config, load_config
        from study.storage.ledger import StudyFolder
        from study.trial.study import Study
        from study.workflow.check import check_study
    changes = ["name=startup", f"storage={place}", f"tracking.uri=sqlite:///{place / 'mlflow.db'}"]
    study = Study(load_config(CONFIGS / f"{name}.yaml", changes), StudyFolder(place / "startup"))
    with timed("the check"):
        check_study(study, resuming=False)
    with timed("imports, to the study"):
        import ray

        from study import tracking
        from study.search.driver import ray_session
        from study.search.stages import make_trial
        from study.trial.prepare import Preparer
        from study.workflow import run_study  # noqa: F401
    study.folder.create(dump_config(study.config), {"git_commit": "unknown"})
    with timed("images and shots"):
        data = Preparer(study, study.architecture().image_size).search()
    tracker = tracking.named(study.config.tracking.tracker)
    with timed("MLflow"):
        tracker.start(study)
    settings = study.config.search.fixed["clipfit"]
    trial = make_trial(study, data, "search", settings, "baseline", 0)

    def first_epoch() -> tuple[float, ...]:
        times = [time.time()]
        from study.search import trainable

        times.append(time.time())
        backbone = trainable.load_once(
            study.config.backbone.name, None, device="cpu", held="float32"
        )
        times.append(time.time())
        next(trainable.run_trial(trial, data, backbone))
        return (*times, time.time())

    with timed("Ray"):
        session = ray_session(study.config)
        session.__enter__()
    asked = time.time()
    began, imported, loaded, trained = ray.get(ray.remote(first_epoch).remote())
    seconds["a worker"] = began - asked
    seconds["its imports"] = imported - began
    seconds["the checkpoint"] = loaded - imported
    seconds["the first epoch"] = trained - loaded
    session.__exit__(None, None, None)
    tracker.close(finished=False)
    return seconds


if __name__ == "__main__":
    main()
