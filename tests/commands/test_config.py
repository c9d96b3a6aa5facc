"""A configuration with all its values is the same when it is read again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from study.commands.new_study import with_sites_of_backbone
from study.config.json_schema import json_schema
from study.config.loading import load_config
from tests.commands.conftest import PHOTOS, Run
from tests.config.test_shipped import CONFIGS


@pytest.mark.parametrize("name", [path.stem for path in CONFIGS.glob("*.yaml")])
def test_what_is_printed_is_the_same_when_it_is_read(name: str, here: Path, run: Run):
    saved = here / "saved.yaml"
    words = ["search.trials=50", "data.groups='a # b'"]
    saved.write_text(run("config", name, *words).out)
    expected = load_config(CONFIGS / f"{name}.yaml", words)
    assert load_config(saved) == with_sites_of_backbone(expected)


def test_what_the_backbone_decides_is_printed(siglip: str, here: Path, run: Run):
    (here / "saved.yaml").write_text(run("config", "photos", siglip).out)
    printed = load_config(here / "saved.yaml")
    assert "vision.pool.ln" in printed.search.space.sites
    assert printed == with_sites_of_backbone(load_config(PHOTOS, [siglip]))


def test_one_study_of_a_sweep_is_printed_and_several_are_not(run: Run, refused: Callable[..., str]):
    assert "stands for 55 studies; allowed is one" in refused("config", "paper/few_shot")
    words = ("data.dataset=dtd", "data.shots=4")
    printed = yaml.safe_load(run("config", "paper/few_shot", *words).out)
    assert printed["name"] == "paper-few_shot-dtd-4"
    assert printed["search"]["baselines"]["clipfit"]["distill_weight"] == 8.0


def test_the_schema_is_printed_alone(run: Run, refused: Callable[..., str]):
    assert json.loads(run("config", "--schema").out) == json_schema()
    assert "--schema is of all configurations" in refused("config", "photos", "--schema")
