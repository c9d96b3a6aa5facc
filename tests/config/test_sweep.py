"""A file that stands for several studies, and a folder that stands for its files'."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from study.config.schema import FinalConfig
from study.config.sweep import is_sweep, load_sweep
from study.errors import ConfigError

GRID = """\
sweep:
  data.dataset: [digits, glyphs]
  data.shots: [1, 4]
exceptions:
  - for: {data.dataset: [glyphs]}
    set: {training.epochs: 7}
  - for: {data.dataset: [glyphs], data.shots: [4]}
    set: {search.baselines.clipfit.distill_weight: 3.0}
training: {epochs: 5}
search:
  trials: 0
  baselines:
    clipfit: {subset: clipfit, rates: {bias: 0.1, ln: 0.1}, distill_weight: 1.0}
    bitfit: null
final: {images: labelled}
"""
PAPER = Path(__file__).parents[2] / "configs" / "paper"


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "mine" / "grid.yaml"
    path.parent.mkdir()
    path.write_text(GRID)
    return path


def test_a_file_stands_for_every_combination_with_what_differs_for_some(grid: Path):
    planned = load_sweep(grid)
    found = []
    for config in (one.config for one in planned):
        weight = config.search.fixed_baselines["clipfit"].distill_weight
        found.append((config.name, config.training.epochs, weight))
    assert found == [
        ("mine-grid-digits-1", 5, 1.0),
        ("mine-grid-digits-4", 5, 1.0),
        ("mine-grid-glyphs-1", 7, 1.0),
        ("mine-grid-glyphs-4", 7, 3.0),
    ]
    assert planned[3].axes == {"data.dataset": "glyphs", "data.shots": 4}
    assert {one.config.final for one in planned} == {FinalConfig(images="labelled")}


def test_an_override_of_an_axis_keeps_its_value_and_any_other_wins(grid: Path):
    overrides = ["data.dataset=hf:owner/name", "data.shots=2", "training.epochs=3", "name=x"]
    (one,) = load_sweep(grid, overrides)
    assert one.config.name == "x-grid-hf.owner.name-2", "a name that a folder can have"
    assert (one.config.training.epochs, one.config.data.shots) == (3, 2)
    with pytest.raises(ConfigError, match=r"'data\.shots=1' and 'data\.shots=4'"):
        load_sweep(grid, ["data.shots=1", "data.shots=4"])


def test_a_folder_stands_for_all_its_files(grid: Path):
    alone = grid.with_name("alone.yaml")
    alone.write_text("data: {shots: 2}\n")
    names = [one.config.name for one in load_sweep(grid.parent)]
    assert (names[0], len(names)) == ("mine-alone", 5)
    assert [is_sweep(path) for path in (grid.parent, grid, alone)] == [True, True, False]
    (grid.parent / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty contains no configuration"):
        load_sweep(grid.parent / "empty")


@pytest.mark.parametrize(
    "axes, shared",
    [
        ("{data.dataset: ['hf:a/b', 'hf:a.b']}", "mine-grid-hf.a.b"),
        ("{data.root: [ViT, vit]}", "mine-grid-vit"),
    ],
)
def test_two_studies_never_share_a_folder(grid: Path, axes: str, shared: str):
    grid.write_text(f"sweep: {axes}\ndata: {{dataset: mine, root: pets}}\n")
    with pytest.raises(ConfigError, match=f"two studies would have the folder '{shared}'"):
        load_sweep(grid)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[digits, glyphs]", "digits", "sweep.data.dataset: "),
        ("data.shots", "data.shotz", "'data.shots'?"),
        ("[1, 4]", "[1, 4, many]", "'many'"),
        ("[digits, glyphs]", "[[digits], glyphs]", "name: String should match"),
        ("for: {data.dataset: [glyphs]}", "for: {data.dataset: [dtd]}", "['dtd'] are not values"),
        ("for: {data.dataset: [glyphs]}", "for: {data.seed: [1]}", "its keys are data.dataset"),
        ("    set: {training.epochs: 7}\n", "", "exceptions.0.set: "),
        ("set: {training.epochs: 7}", "set: {training.epoch: 7}", "'training.epochs'?"),
        ("search.baselines.clipfit.distill", "training.epochs.x", "not a section"),
    ],
)
def test_a_fault_is_reported_with_its_file(grid: Path, old: str, new: str, message: str):
    grid.write_text(grid.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_sweep(grid)


def test_the_papers_hyperparameters_are_as_published():
    planned = load_sweep(PAPER)
    configs = defaultdict(list)
    for one in planned:
        configs[one.experiment].append(one.config)
    assert len(configs["base_to_new"]) == 11
    for config in configs["base_to_new"]:
        clipfit = config.search.fixed_baselines["clipfit"]
        quick = config.data.dataset in ("food101", "imagenet")
        assert config.training.epochs == (10 if quick else 100)
        assert (clipfit.rates, clipfit.distill_weight) == ({"bias": 0.002, "ln": 0.002}, 8.0)
        assert config.test.seeds == (1, 2, 3)
        assert (config.data.shots, config.training.batch_size) == (16, 32)
    assert {config.data.shots for config in configs["few_shot"]} == {1, 2, 4, 8, 16}
    for config in configs["few_shot"]:
        weight = 8.0 if config.data.dataset in ("dtd", "sun397") else 2.0
        assert config.search.fixed_baselines["clipfit"].distill_weight == weight
    for experiment in ("base_to_new", "few_shot", "transfer_datasets", "transfer_domains"):
        for config in configs[experiment]:
            kept = list(config.search.kept_baselines)
            assert kept == ["zero-shot", "clipfit", "clap", "two_stage"]
    for name, cells in (("biases", 15), ("layernorms", 12), ("regularizer", 1)):
        for config in configs[f"ablation_{name}"]:
            assert len(config.search.kept_baselines) == cells
    targets = [one.config.data.targets for one in planned if one.config.protocol == "transfer"]
    assert sorted(map(len, targets)) == [4, 10]
    kinds = {config.training.regularizer for config in configs["ablation_regularizer"]}
    assert kinds == {"cosine", "l2_init", "none"}
