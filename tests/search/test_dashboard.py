"""A study's Optuna storage opens in Optuna's own dashboard."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.backbones.architecture import Depths
from study.config.search_section import SpaceConfig
from study.search.optuna_arm import Outcome, open_arm
from study.search.samplers import random
from study.search.space import OpenSpace

COMPLETE, FAIL = TrialState.COMPLETE, TrialState.FAIL
STARTS_WITHIN = 60.0  # seconds


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "optuna.journal"
    space = OpenSpace(SpaceConfig(), Depths(2, 3))
    arm = open_arm(path, "search", budget=3, space=space, sampler=random, seed=1)
    for score, state in ((0.5, COMPLETE), (0.75, COMPLETE), (None, FAIL)):
        asked = arm.ask(lambda proposal: None)
        assert asked is not None
        arm.name_trial(asked[0], f"search-{asked[0] + 5:04d}")
        arm.tell(asked[0], Outcome(score, state))
    return path


def ask(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=5) as answer:
        return json.load(answer)


def test_the_dashboard_shows_every_trial_with_its_score_and_the_id_that_the_report_has(
    journal: Path,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = Path(sys.executable).with_name("optuna-dashboard")
    server = subprocess.Popen(
        [str(command), "--host", "127.0.0.1", "--port", str(port), str(journal)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        page = f"http://127.0.0.1:{port}/api/studies"
        (study,) = _when_it_answers(lambda: ask(page)["study_summaries"])
        shown = ask(f"{page}/{study['study_id']}")
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert study["study_name"] == "search"
    trials = shown["trials"]
    assert shown["objective_names"] == ["val_score"]
    numbers = [{a["key"]: a["value"] for a in trial["user_attrs"]} for trial in trials]
    assert numbers == [{"trial": f"search-{number:04d}"} for number in (5, 6, 7)]
    states = [trial["state"] for trial in trials]
    assert states == ["Complete", "Complete", "Fail"]
    assert [trial["values"] for trial in trials[:2]] == [[0.5], [0.75]]


def _when_it_answers(get: Callable[[], list[Any]]) -> list[Any]:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            return get()
        except OSError:
            assert time.monotonic() < deadline, "the dashboard does not answer"
            time.sleep(0.2)
