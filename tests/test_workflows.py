"""The hosted checks: valid workflows that may only read, and that run what the documents say."""

import re
from pathlib import Path

import pytest
import yaml

from study.storage.result_folder import JsonObject

ROOT = Path(__file__).parent.parent
WORKFLOWS = {path.stem: path for path in (ROOT / ".github" / "workflows").glob("*.yml")}


def load(name: str) -> JsonObject:
    """Return what the file of a workflow contains."""
    content = yaml.safe_load(WORKFLOWS[name].read_text())
    return content


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_it_may_read_the_code_alone_and_ends_by_itself_with_pinned_actions(name: str):
    workflow = load(name)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"].startswith("${{ github.workflow }}")
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 120
        uses = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in uses)


def commands(name: str, job: str) -> list[str]:
    """Return the commands of a job of a workflow."""
    return [step["run"] for step in load(name)["jobs"][job]["steps"] if "run" in step]


def test_the_hosted_tests_and_checks_are_those_of_the_readme_and_of_each_change():
    readme, own = (
        (ROOT / page).read_text().replace(".venv/bin/", "") for page in ("README.md", ".ci/run")
    )
    assert " && ".join(commands("tests", "default")) in readme
    checks = {line for job in load("lint")["jobs"] for line in commands("lint", job)}
    linted = re.findall(r"(?m)^ *((?:ruff|mypy|check-).*)$", own)
    assert {*linted} == {line for line in checks if not line.startswith("pip")}
