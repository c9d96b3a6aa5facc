"""The hosted checks: valid workflows that may only read, and that run what the documents say."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from study.storage.result_folder import JsonObject

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def load(file: Path) -> JsonObject:
    """Return what a workflow's file contains."""
    content = yaml.safe_load(file.read_text())
    return content


def steps(file: Path) -> Iterator[JsonObject]:
    """Yield the steps of all jobs of a workflow."""
    for job in load(file)["jobs"].values():
        yield from job["steps"]


@each_file
def test_it_may_read_the_code_and_nothing_else(file: Path):
    workflow = load(file)
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())


@each_file
def test_every_job_ends_by_itself_and_none_runs_twice(file: Path):
    workflow = load(file)
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
    assert workflow["concurrency"]["group"].startswith("${{ github.workflow }}")


@each_file
def test_actions_of_others_are_pinned_by_commit(file: Path):
    uses = [step["uses"] for step in steps(file) if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in uses)


def test_the_hosted_tests_are_those_of_the_readme():
    readme = (ROOT / "README.md").read_text().replace(".venv/bin/", "")
    (tests,) = (file for file in FILES if file.stem == "tests")
    default = load(tests)["jobs"]["default"]
    commands = [step["run"] for step in default["steps"] if "run" in step]
    assert " && ".join(commands) in readme


def test_what_is_linted_here_is_linted_by_the_hosted_checks():
    here = (ROOT / ".ci" / "run").read_text().replace(".venv/bin/", "")
    (lint,) = (file for file in FILES if file.stem == "lint")
    commands = {step["run"] for step in steps(lint) if "run" in step}
    lines = {line.strip() for line in here.splitlines()}
    checks = {line for line in lines if re.match(r"ruff|mypy|check-", line)}
    assert checks == {line for line in commands if not line.startswith("pip")}
