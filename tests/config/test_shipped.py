"""Every configuration that comes with the project loads."""

from pathlib import Path

import pytest

from study.config.loading import is_sweep, load_config, load_sweep
from study.workflow.commands import find_config

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = sorted({p for p in CONFIGS.rglob("*") if p.is_file()} - {CONFIGS / "README.md"})


def test_there_are_configurations() -> None:
    assert CONFIGS / "quickstart.yaml" in SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_a_shipped_configuration_loads_and_is_found_by_name(path: Path) -> None:
    assert path.suffix == ".yaml"
    if is_sweep(path):
        assert load_sweep(path)
    else:
        config = load_config(path)
        assert config.name is None, "a shipped configuration has no name, so that it runs twice"
    name = path.relative_to(CONFIGS).with_suffix("").as_posix()
    assert find_config(name).samefile(path)


def test_a_folder_of_configurations_is_found_by_name() -> None:
    assert find_config("paper").samefile(CONFIGS / "paper")
