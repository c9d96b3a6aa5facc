"""Every configuration that comes with the project loads, and overrides lead to any other one."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.commands.find import find_config
from study.config.loading import build_config, load_config
from study.config.shipped import (
    overrides_between,
    repeating_command,
    shipped_file,
    value_at,
)
from study.config.sweep import is_sweep, load_sweep
from tests.not_none import not_none

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = sorted(p for p in CONFIGS.rglob("*") if p.is_file() and p.name != "README.md")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_a_shipped_configuration_loads_and_is_found_by_name(path: Path):
    assert path.suffix == ".yaml"
    if is_sweep(path):
        assert load_sweep(path)
    else:
        assert load_config(path).name is None, "a shipped one has no name, so that it runs twice"
    name = path.relative_to(CONFIGS).with_suffix("").as_posix()
    assert find_config(name).samefile(path)


def test_a_shipped_file_is_found_by_its_name():
    assert shipped_file("ablation") == CONFIGS / "ablation.yaml"
    assert CONFIGS / "ablation.yaml" in SHIPPED
    assert shipped_file("none") is None


CASES = yaml.safe_load(Path(__file__).with_name("overrides.yaml").read_text())


@pytest.mark.parametrize("key, value", CASES)
def test_overrides_lead_to_any_value(key: str, value: Any):
    start = build_config({"data": {"val_shots": 3}}, "here")
    (override,) = overrides_between(start, {key: value, "seed": 1})
    assert "\n" not in override
    reached = load_config(CONFIGS / "ablation.yaml", [override])
    assert value_at(reached, key) == value


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"protocol": "base_to_new", "search": {"asha": None, "trials": 5}},
        {"data": {"dataset": "it's", "templates": ["a {}.", "the {}: x"]}, "seed": 3},
        {"ablation": {"design": "only_one", "rates": [0.1]}},
    ],
    ids=str,
)
def test_the_repeating_command_leads_to_an_equal_configuration(values: dict[str, Any]):
    config = build_config(values, "test")
    command = repeating_command(config) or ""
    program, run, name, *overrides = shlex.split(command.replace("\\\n", ""))
    assert (program, run, name) == ("clipfit-study", "run", "quickstart")
    assert load_config(find_config(name), overrides) == config


def test_the_repeating_command_tells_no_place_of_this_machine(tmp_path: Path):
    values = {
        "name": "mine",
        "storage": str(tmp_path / "runs"),
        "data": {"dataset": "pets", "root": str(tmp_path / "pets")},
        "backbone": {"name": "/mnt/me/my-clip"},
        "tracking": {"uri": "http://host"},
    }
    told = not_none(repeating_command(build_config(values, "test")))
    assert "data.root=pets" in told
    assert "backbone.name=my-clip" in told
    for hidden in ("/runs", "/mnt", "//host", "name=mine", "storage"):
        assert hidden not in told
