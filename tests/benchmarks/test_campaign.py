"""A campaign of faults draws alike, sees how studies differ, and tells what came of it."""

import importlib
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    for folder in (Path(__file__).parent, Path(__file__).parents[1] / "faults"):
        monkeypatch.syspath_prepend(str(folder))
    path, names = [*sys.path], ("campaign_study", "campaign_faults", "campaign")
    yield {name: importlib.import_module(name) for name in names}
    sys.path[:] = path
    for name in (*names, "paired", "proxy", "drivers_client"):
        sys.modules.pop(name, None)


def test_a_draw_is_the_same_whenever_it_is_asked_for(modules: dict[str, ModuleType]) -> None:
    draw = modules["campaign"].Draw.of
    (first, chance), (again, its) = draw(17, 1), draw(17, 1)
    assert first == again
    assert chance.random() == its.random()
    assert draw(17, 2)[0] != first


def test_every_fault_and_kind_is_drawn(modules: dict[str, ModuleType]) -> None:
    draws = [modules["campaign"].Draw.of(number, 1)[0] for number in range(200)]
    assert Counter(d.fault for d in draws).keys() == modules["campaign_faults"].FAULTS.keys()
    assert Counter(d.kind for d in draws).keys() == modules["campaign_study"].KINDS.keys()
    assert all(modules["campaign_faults"].FAULTS[d.fault](random.Random(0)).did for d in draws)


def test_no_difference_of_two_studies_is_passed_over(modules: dict[str, ModuleType]) -> None:
    told, differences = modules["campaign_study"].Told, modules["campaign_study"].differences
    twin = told({"a": [1], "b": [2]}, ["a"], {"": [["FINISHED"]], "a": [["FINISHED"]]})
    assert differences(twin, twin) == []
    spoiled = {
        "trials: 'b' is missing": replace(twin, trials={"a": [1]}),
        "trials: 'c' is too much": replace(twin, trials={**twin.trials, "c": []}),
        "trials: 'a'/0 is 0, that of its twin 1": replace(twin, trials={**twin.trials, "a": [0]}),
        "the choice/0 is 'b', that of its twin 'a'": replace(twin, choice=["b"]),
        "runs: 'a' is missing": replace(twin, runs={"": [["FINISHED"]]}),
        "runs: 'a' is [['FINISHED'], ['FINISHED']], that of its twin [['FINISHED']]": replace(
            twin, runs={**twin.runs, "a": [["FINISHED"]] * 2}
        ),
    }
    for said, other in spoiled.items():
        assert differences(other, twin) == [said]


def test_what_is_kept_of_a_twin_is_read_as_it_was(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    told = modules["campaign_study"].Told
    twin = told({"a": [1, None]}, [], {"": []})
    twin.write(tmp_path / "whole")
    assert told.read(tmp_path / "whole") == twin


def test_a_study_says_how_to_go_on_unless_it_was_killed(modules: dict[str, ModuleType]) -> None:
    unsaid = partial(modules["campaign"].unsaid, begun=True)
    assert unsaid(0, "") == unsaid(-9, "") == unsaid(130, "go on by resume mine") == []
    assert unsaid(2, "resume mine") == unsaid(2, "it cannot start", begun=False) == []
    for status in (2, 130):
        assert unsaid(status, "a traceback")[0].startswith("no word of how to go on")
    assert unsaid(1, "resume mine")[0].startswith("it ended with 1")


def test_the_table_counts_what_was_drawn_resumed_and_wrong(modules: dict[str, ModuleType]) -> None:
    lines = [
        {"fault": "driver killed", "resumes": 1, "wrong": []},
        {"fault": "driver killed", "resumes": 0, "wrong": []},
        {"fault": "disk full", "resumes": 0, "wrong": []},
    ]
    summary = modules["campaign"].summary
    assert "3 draws, 0 failed; at most 63.2 % (95 %)" in summary(lines)
    assert "| driver killed | 2 | 1 | 0 |" in summary(lines)
    lines[2]["wrong"] = ["trials: 'b' is missing"]
    assert "3 draws, 1 failed**" in summary(lines)
    assert "| disk full | 1 | 0 | 1 |" in summary(lines)
