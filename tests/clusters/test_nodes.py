"""Several raylets on this computer: what reaches a node, how often, and nodes that come later."""

import inspect
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from study.search.trainable import ClipFitTrainable
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from tests.clusters.conftest import SMALL, Running, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PROGRAM = Path(__file__).with_name("watched_study.py")
SLOTS = 2
"""Trials that fit on a node."""
WAITS = "waiting for a machine that can run a trial"


class WatchedStudy(Running):
    """A study that runs on a cluster in this computer, and what it has noted."""

    def __init__(self, place: Path, arguments: Sequence[str], address: str):
        self.folder = StudyFolder(place / "runs" / "watched")
        self._notes = place / "notes.jsonl"
        command = [sys.executable, str(PROGRAM), str(self._notes), *SMALL, *arguments]
        super().__init__(command, place, cwd=place, env=os.environ | {"RAY_ADDRESS": address})

    def notes(self, what: str) -> list[JsonObject]:
        """What has been noted of one kind, the oldest first."""
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return [note for note in map(json.loads, lines) if note["what"] == what]

    def processes(self) -> dict[int, JsonObject]:
        """The first epoch of each process."""
        return {note["process"]: note for note in reversed(self.notes("epoch"))}

    def until(self, what: str, happened: Callable[[], Any]):
        """Wait until something is so, or the study has ended."""
        wait_for(what, lambda: happened() or self.process.poll() is not None)
        assert happened(), f"{what}: not so\n{self.said[-6000:]}"

    def end_well(self):
        """Wait for its end, which must be a good one of it and of each trial."""
        super().end_well()
        ends = [trial.read_end() for trial in self.folder.trials()]
        assert {end and end.status for end in ends} == {"finished"}


Start = Callable[..., WatchedStudy]


@pytest.fixture
def start(nodes: Any, tiny_backbone: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a study on the nodes, in which so many processes wait for each other."""
    started = []

    def run(wait_for: int, *words: str) -> WatchedStudy:
        (tmp_path / "wait_for").write_text(str(wait_for))
        words = ("name=watched", f"backbone.name={tiny_backbone}", *words)
        started.append(WatchedStudy(tmp_path, words, nodes.address))
        return started[-1]

    yield run
    for running in started:
        running.process.kill()
        running.process.wait()


@pytest.mark.ci
def test_a_node_that_joins_takes_trials_and_data_reach_each_process_once(nodes: Any, start: Start):
    running = start(2 * SLOTS, "search.trials=12", "training.epochs=2", "training.precision=auto")
    running.until("it says what it waits for", lambda: WAITS in running.said)
    first = nodes.add_node(num_cpus=SLOTS)
    running.until("the first node is full", lambda: len(running.processes()) == SLOTS)
    second = nodes.add_node(num_cpus=SLOTS)
    running.until("the second one is", lambda: len(running.processes()) >= 2 * SLOTS)
    begun = sorted(running.processes().values(), key=lambda note: note["time"])
    running.end_well()

    # All of these waited for each other in the middle of their trials.
    at_once = begun[: 2 * SLOTS]
    assert [n["node"] for n in at_once] == [first.node_id] * SLOTS + [second.node_id] * SLOTS
    assert len({n["trial"] for n in at_once}) == 2 * SLOTS

    loaded = Counter(n["process"] for n in running.notes("load_backbone"))
    assert loaded == dict.fromkeys(running.processes(), 1), "and never once a trial"
    opened = Counter((n["process"], n["file"]) for n in running.notes("__init__"))  # of ImageTable
    assert set(opened.values()) == {1}
    for epoch in running.notes("epoch"):
        kinds = {Path(name).suffix for name in epoch["mapped"]}
        assert kinds == {".arrow", ".safetensors"}, "both are pages that a node's processes share"
    sizes = [note["size"] for note in running.notes("put")]
    message = inspect.getfullargspec(ClipFitTrainable.setup).kwonlyargs
    rounds = 2  # search and test, each with its data
    assert len(sizes) == len(message) + rounds, "however many trials there are"
    assert max(sizes) < 1e6, "images and weights travel as the names of files"


@pytest.mark.ci
def test_trials_leave_a_node_that_is_about_to_be_taken_away_and_do_no_epoch_twice(
    nodes: Any, start: Start, tmp_path: Path
):
    leaving, _ = (nodes.add_node(num_cpus=1) for _ in range(2))
    more_than_fit = 3
    running = start(
        more_than_fit, "search.trials=8", "training.epochs=60", "resources.max_failures=0"
    )

    def both_are_in_a_trial() -> bool:
        epochs = Counter((n["node"], n["trial"]) for n in running.notes("epoch"))
        return len({node for (node, _), count in epochs.items() if count > 1}) == 2

    running.until("both wait for a third process", both_are_in_a_trial)
    ray = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", nodes.address]
    why = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "as of a spot machine"]
    subprocess.run([*ray, "--node-id", leaving.node_id, *why], check=True)
    notice = time.time()
    (tmp_path / "wait_for").write_text("2")
    (raylet,) = leaving.all_processes["raylet"]
    running.until("the node is empty, and ends itself", lambda: raylet.process.poll() is not None)
    trained = len(running.notes("epoch"))
    running.end_well()

    epochs = running.notes("epoch")
    there = [n for n in epochs if n["node"] == leaving.node_id]
    assert sum(n["time"] > notice for n in there) <= 1, "that which a trial was in"
    elsewhere = [n["trial"] for n in epochs if n not in there]
    assert {n["trial"] for n in there}.intersection(elsewhere), "none went on on the other node"
    assert trained < len(epochs), "the node ended with the study"
    for trial_id, count in Counter(n["trial"] for n in epochs).items():
        reports = running.folder.trial(trial_id).read_reports()
        assert count == len(reports), "an epoch was done twice"


def test_a_study_whose_head_is_lost_for_good_ends_in_words(nodes: Any, start: Start):
    nodes.add_node(num_cpus=SLOTS)
    running = start(1, "search.trials=12", "training.epochs=30")
    running.until("it trains", lambda: running.notes("epoch"))
    nodes.head_node.kill_gcs_server(check_alive=False)
    killed = time.monotonic()
    status = running.process.wait(timeout=120)
    assert time.monotonic() - killed < 60, "Ray itself ends it then, without a word"
    said = " ".join(running.said.split())
    assert status == 130, said[-6000:]
    assert "no longer responds; " in said
    assert "clipfit-study resume" in said
