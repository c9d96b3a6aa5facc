"""How quick MLflow's pages are with a study of 1,000 trials, beside the same with 40.

    python tests/benchmarks/browsing.py                  # needs chromium

The trials are proposals of the embedded study's own search space with made-up scores, written to
two SQLite stores as studies write them. `mlflow ui` then serves both, headless chromium opens the
pages of one and the other in turn, and the browser itself tells when the winner's row, or the
description of the study, was there, and which calls the page had made of MLflow. What a browser
keeps between visits (MLflow's scripts) it has from a first visit that does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import torch

from study.config.loading import dump_config, load_config
from study.config.schema import StudyConfig
from study.method.delta import DeltaInfo, save_delta
from study.search.space import OpenSpace
from study.search.stages import make_trial
from study.selection.candidates import finished_trials, fix_candidates
from study.selection.choice import winners
from study.storage.ledger import End, StudyFolder
from study.tracking.mlflow.internals import runs_page
from study.tracking.mlflow.runs import RunWriter
from study.trial.prepare import Preparer
from study.trial.study import Study

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from browser import Browser  # noqa: E402
from paired import machine  # noqa: E402

RUNGS = ((2 / 3, 3), (8 / 9, 9), (1.0, 20))
"""Share of the trials that successive halving has stopped by an epoch."""
TOLD = "This is what validation chose."
STARTS_WITHIN = 120.0  # seconds

# The time since the page was asked for, and the calls that it has made until then.
READY = """new Promise((done) => {
  const look = () => {
    if (!document.body || !document.body.textContent.includes(%s)) return setTimeout(look, 10);
    const calls = performance.getEntriesByType("resource")
      .filter((call) => call.name.includes("ajax-api") || call.name.includes("graphql"))
      .map((call) => [new URL(call.name).pathname, call.duration, call.encodedBodySize]);
    done({seconds: performance.now() / 1000, calls: calls});
  };
  look();
})"""


@dataclass(frozen=True)
class Shown:
    """A study in a store of its own."""

    uri: str
    experiment_id: str
    parent_id: str
    winner: str
    """The name of its run."""
    sent: float
    """Seconds that sending a trial took."""


def main() -> None:
    """Write both studies, open their pages in turn, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, nargs=2, default=(40, 1000))
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        studies = [write_study(Path(place) / str(count), count) for count in given.trials]
        servers = [stack.enter_context(serve(study.uri, Path(place))) for study in studies]
        browser = Browser(Path(place) / "chromium")
        stack.callback(browser.close)
        for name, pages in {
            "trials, by validation score": [
                (runs_page(server, study.experiment_id, "trials"), study.winner)
                for server, study in zip(servers, studies, strict=True)
            ],
            "the study's own page": [
                (f"{server}/#/experiments/{study.experiment_id}/runs/{study.parent_id}", TOLD)
                for server, study in zip(servers, studies, strict=True)
            ],
        }.items():
            rounds = [[visit(browser, *page) for page in pages] for _ in range(given.rounds + 1)]
            tell(name, given.trials, rounds[1:])
        for count, study in zip(given.trials, studies, strict=True):
            print(f"sending {count} trials took {study.sent:.3f} s a trial")


def visit(browser: Browser, address: str, wanted: str) -> dict[str, Any]:
    """Open a page and wait for a text; give the seconds and the calls."""
    browser.open(address)
    visited: dict[str, Any] = browser.evaluate(READY % json.dumps(wanted))
    return visited


def tell(name: str, trials: list[int], rounds: list[list[dict[str, Any]]]) -> None:
    """Print the medians of a page."""
    print(f"\n{name} (medians of {len(rounds)} visits)")
    visits = list(zip(*rounds, strict=True))

    def median(what: str, of: Callable[[dict[str, Any]], float]) -> None:
        line(what, [statistics.median(map(of, own)) for own in visits], trials)

    median("page ready, s", lambda visit: visit["seconds"])
    median("slowest call, s", lambda visit: max(ms for _, ms, _ in visit["calls"]) / 1000)
    median("runs/search, s", lambda visit: sum(ms for _, ms, _ in searches(visit)) / 1000)
    median("runs/search, KB", lambda visit: sum(size for *_, size in searches(visit)) / 1024)
    median("all calls, KB", lambda visit: sum(size for *_, size in visit["calls"]) / 1024)
    median("calls", lambda visit: len(visit["calls"]))


def searches(visit: dict[str, Any]) -> list[tuple[str, float, int]]:
    """Give a page's calls that search for runs: path, milliseconds, bytes of the answer."""
    return [call for call in visit["calls"] if call[0].endswith("/runs/search")]


def line(what: str, values: list[float], trials: list[int]) -> None:
    """Print one figure of both studies and their ratio."""
    told = ", ".join(f"{v:.3g} with {n} trials" for v, n in zip(values, trials, strict=True))
    print(f"{what:<16} {told}; {values[1] / values[0]:.2f} times")


def write_study(place: Path, count: int) -> Shown:
    """Write a finished study of made-up trials, and send it to a store beside it."""
    place.mkdir()
    name = f"trials-{count}"
    overrides = [f"name={name}", f"search.trials={count}", f"storage={place}"]
    config = load_config(ROOT / "configs" / "quickstart.yaml", overrides)
    folder = StudyFolder(place / name)
    folder.create(dump_config(config), {"git_commit": "unknown"})
    make_up(config, folder, count)
    study = Study(config, folder)
    fix_candidates(study)
    winner = finished_trials(folder)[0].config.label
    (folder.path / "description.md").write_text(f"**{winner}**: {TOLD}\n", encoding="utf-8")
    uri = f"sqlite:///{place / 'mlflow.db'}"
    with chdir(place):  # where a local store puts its artifacts
        writer = RunWriter(study, uri)
        began = time.perf_counter()
        for trial in folder.trials():
            writer.sync_trial(trial.trial_id)
        sent = (time.perf_counter() - began) / count
        writer.close_study(finished=True, winners=partial(winners, study))
    return Shown(uri, writer.experiment_id, writer.parent_id, f"{winner} ★", sent)


def make_up(config: StudyConfig, folder: StudyFolder, count: int) -> None:
    """Write the trials of a search: proposals at random, scores that rise with noise."""
    study = Study(config, folder)
    architecture = study.architecture()
    data = Preparer(study, architecture.image_size).search()
    space = OpenSpace(config.search.space, architecture.depths)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    rng = random.Random(0)
    for number in range(count):
        proposal = space.suggest(asked.ask())
        trial = make_trial(study, data, "search", proposal, "search", number, number)
        ran = rng.random()
        epochs = next(epoch for share, epoch in RUNGS if ran < share) if trial.epochs else 0
        written = folder.trial(trial.trial_id)
        written.create(trial.model_dump(mode="json"))
        worth = 0.6 + 0.3 * ran
        reports = [report(epoch, worth, rng) for epoch in range(1, epochs + 1)]
        reports = reports or [{"epoch": 0, "val_score": 0.6, "seconds": 0.1}]
        written.write("reports.jsonl", "".join(f"{json.dumps(report)}\n" for report in reports))
        info = DeltaInfo("embedded", None, "0" * 16, trial.settings.subset, (), ())
        save_delta(written.path / "delta.safetensors", {"a": torch.zeros(trial.trainable)}, info)
        ended = "finished" if epochs == trial.epochs else "stopped"
        reason = None if ended == "finished" else f"successive halving at epoch {epochs}"
        written.write_end(End(ended, epochs, 0.1 * epochs, reason))


def report(epoch: int, worth: float, rng: random.Random) -> dict[str, float]:
    """Make up what a trial reports of an epoch."""
    score = worth * (1 - 0.5**epoch) + rng.gauss(0, 0.005)
    losses = {"train_loss": 1 / epoch, "cross_entropy": 0.9 / epoch, "distillation": 0.1 / epoch}
    rates = {"bias_lr": 0.1 / epoch, "ln_lr": 0.1 / epoch, "images_per_second": rng.gauss(900, 30)}
    scores = {"val_accuracy": score, "val_score": score, "seconds": 0.1}
    return {"epoch": epoch, **losses, **rates, **scores}


@contextmanager
def serve(uri: str, place: Path) -> Iterator[str]:
    """Run `mlflow ui` on a store; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (place / f"server-{port}.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--backend-store-uri", uri],
            cwd=place,
            env={**os.environ, **quiet},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(f"{address}/health")
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(address: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


if __name__ == "__main__":
    main()
