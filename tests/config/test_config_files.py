"""Every configuration that comes with the project loads, and is found by its name."""

from pathlib import Path

import pytest

from study.commands.find import built_in_file, find_config
from study.config.loading import load_config
from study.config.sweep import is_sweep, load_sweep

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG_FILES = sorted(p for p in CONFIGS.rglob("*") if p.is_file() and p.name != "README.md")


@pytest.mark.parametrize(
    "path", CONFIG_FILES, ids=lambda path: path.relative_to(CONFIGS).as_posix()
)
def test_a_shipped_configuration_loads_and_is_found_by_name(path: Path):
    assert path.suffix == ".yaml"
    if is_sweep(path):
        assert load_sweep(path)
    else:
        assert load_config(path).name is None, "a built-in one has no name, so that it runs twice"
    name = path.relative_to(CONFIGS).with_suffix("").as_posix()
    assert find_config(name).samefile(path)
    assert built_in_file(name) == path
