"""A file and overrides become a configuration, or one error that tells every fault."""

from pathlib import Path

import pytest

from study.commands.find import built_in_file, find_config
from study.config.loading import build_config, dump_config, load_config
from study.config.schema import StudyConfig
from study.config.sweep import is_sweep, load_sweep
from study.errors import ConfigError, FaultsError

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG_FILES = sorted(p for p in CONFIGS.rglob("*") if p.is_file() and p.name != "README.md")


@pytest.mark.parametrize(
    "path", CONFIG_FILES, ids=lambda path: path.relative_to(CONFIGS).as_posix()
)
def test_a_packaged_configuration_loads_and_is_found_by_name(path: Path):
    assert path.suffix == ".yaml"
    if is_sweep(path):
        assert load_sweep(path)
    else:
        assert load_config(path).name is None, "a built-in one has no name, so that it runs twice"
    name = path.relative_to(CONFIGS).with_suffix("").as_posix()
    assert find_config(name).samefile(path)
    assert built_in_file(name) == path


def test_a_frozen_configuration_is_read_with_overrides(file: Path):
    config = build_config({"test": {"runners_up": 3}}, "here")
    file.write_text(dump_config(config))
    assert load_config(file, frozen=True) == load_config(file) == config
    assert load_config(file, ["test.runners_up=1"], frozen=True).test.runners_up == 1


def test_an_override_reaches_a_field_and_creates_its_section(file: Path):
    assert load_config(file) == StudyConfig()
    file.write_text("data: {shots: 4}\n")
    overrides = ("data.short=take_all", "search.asha=null", "search.space.rates.bias=[1e-3, 1e-1]")
    config = load_config(file, overrides)
    assert (config.data.shots, config.data.short, config.search.asha) == (4, "take_all", None)
    assert config.search.space.rates == {"bias": (0.001, 0.1), "ln": (0.0005, 0.2)}


def test_faults_of_the_file_and_of_overrides_are_reported_together(file: Path):
    file.write_text("training: {epochs: many}\n")
    with pytest.raises(FaultsError) as caught:
        load_config(file, ["search.trials=abc", f"seed={'x' * 10_000}"])
    assert [fault.key for fault in caught.value.faults] == [
        *("seed", "training.epochs", "search.trials")
    ]
    assert len(str(caught.value)) < 1000


def test_a_home_folder_is_meant_where_paths_are(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file.write_text("storage: ~/studies\ndata: {root: ~/images}\n")
    config = load_config(file)
    assert (config.storage, config.data.root) == (tmp_path / "studies", tmp_path / "images")
    with pytest.raises(FaultsError, match="storage: begins with '~nobody-at-all', but"):
        load_config(file, ["storage=~nobody-at-all/x"])


def test_half_of_a_character_in_a_refused_text_is_named():
    with pytest.raises(ConfigError, match=r"mine contains '\\ud800'"):
        build_config({"search": {"baselines": {"label": {"subset": "\ud800"}}}}, "mine")
