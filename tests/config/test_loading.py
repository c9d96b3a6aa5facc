"""A file and overrides become a configuration, or one error that tells every fault."""

from pathlib import Path

import pytest

from study.config.loading import (
    ConfigFaults,
    build_config,
    dump_config,
    load_config,
)
from study.config.peer_settings import Peer
from study.config.schema import StudyConfig
from study.errors import ConfigError
from tests.config_faults import baselines, clipfit, faults


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An empty file, which is the default study."""
    path = tmp_path / "mine.yaml"
    path.write_text("")
    return path


def told_of(file: Path, *overrides: str) -> str:
    """Return what is told of a configuration with faulty overrides."""
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    return str(caught.value)


def test_faults_are_reported_all_together() -> None:
    told = faults(
        {
            "sed": 1,
            "data": {"shots": 0, "dataste": "digits"},
            "training": {"epochs": "many"},
            "search": {"space": {"sites": ["text.ln9", "vision.foo"]}},
        }
    )
    sites = ["search.space.sites.0", "search.space.sites.1"]
    expected = ["data.dataste", "data.shots", *sites, "sed", "training.epochs"]
    assert sorted(places_of(told)) == expected


def test_parts_that_disagree_are_reported_all_together() -> None:
    given = {"clipfit": {"subset": "clipfit"}, "best": clipfit()}
    assert len(faults({"search": {"baselines": given}})) == 3


def test_disagreements_are_told_beside_a_fault_elsewhere() -> None:
    told = faults({"sed": 1, "search": {"baselines": baselines(best=clipfit())}})
    assert places_of(told) == ["sed", "search.baselines.best"]


def places_of(faults: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in faults]


def test_a_default_that_stands_in_for_a_fault_is_not_blamed() -> None:
    assert places_of(faults({"data": {"targets": 3, "targets_root": "x"}})) == ["data.targets"]


def test_what_is_sound_can_be_read_in_spite_of_faults() -> None:
    values = {"sed": 1, "data": {"shots": "many", "dataset": "glyphs"}, "training": 3}
    values |= {"search": {"baselines": {"clipfit": {"subset": 3}}}}
    with pytest.raises(ConfigFaults) as caught:
        build_config(values, "the file")
    assert caught.value.valid_config == build_config({"data": {"dataset": "glyphs"}}, "the same")


def test_a_frozen_configuration_is_read_with_overrides(file: Path) -> None:
    config = build_config({"confirm": {"strength": 0.5}}, "here")
    file.write_text(dump_config(config))
    assert load_config(file, frozen=True) == load_config(file) == config
    assert load_config(file, ["confirm.strength=0.25"], frozen=True).confirm.strength == 0.25


def test_an_override_reaches_a_field_and_creates_its_section(file: Path) -> None:
    file.write_text("data: {shots: 4}\n")
    overrides = [
        *("data.shots=8", "search.asha=null", "search.space.rates.bias=[1e-3, 1e-1]", "name=mine"),
        *("training.weight_decay=1e-4", "search.baselines.extra={subset: ln, rates: {ln: 0.1}}"),
    ]
    config = load_config(file, overrides)  # a mapping replaces the default one
    assert list(config.search.baselines) == ["extra"]
    config = load_config(file, overrides[:-1])
    assert config.data.shots == 8
    assert config.search.asha is None
    assert config.search.space.rates == {"bias": (1e-3, 1e-1), "ln": (5e-4, 2e-1)}
    assert config.training.weight_decay == 1e-4
    assert config.name == "mine"


PEERS = (
    "search.baselines.lora={peer: lora, rank: 2, alpha: 4, lr: [1e-3, 1e-1], optimizer: sgd}",
    "search.baselines.full={peer: full}",
)


def test_one_override_asks_for_a_peer_beside_the_published_baselines(
    file: Path, tmp_path: Path
) -> None:
    file.write_text("data: {shots: 4}\n")
    config = load_config(file, PEERS)
    published = load_config(file).search.baselines
    assert list(config.search.baselines) == [*published, "lora", "full"]
    assert {label: config.search.baselines[label] for label in published} == published
    lora, full = config.search.peer_arms.values()
    assert (lora.optimizer, lora.lr, lora.weight_decay) == ("sgd", (1e-3, 1e-1), 5e-4)
    numbers = {"rank": 2, "alpha": 4, "dropout": 0}
    values = {"method": "lora", "lr": 0.01, "optimizer": "sgd", **numbers}
    assert lora.with_rate(0.01) == Peer.model_validate(values)
    assert full.with_rate(0.01) == Peer(method="full", lr=0.01)
    again = tmp_path / "again.yaml"
    again.write_text(dump_config(config))
    assert load_config(again) == config


def test_a_peer_stands_beside_the_baselines_that_a_file_gives(file: Path) -> None:
    file.write_text(dump_config(build_config({"search": {"baselines": baselines()}}, "here")))
    assert list(load_config(file, PEERS).search.baselines) == [*baselines(), "lora", "full"]


def test_faults_of_overrides_alone_do_not_blame_the_file(file: Path) -> None:
    assert told_of(file, "search.trials=abc", "data.shots=4", "seed=-1").splitlines() == [
        "the overrides have 2 faults:",
        "  seed: must be at least 0, got -1 (override seed=-1)",
        "  search.trials: must be a whole number, got 'abc' (override search.trials=abc)",
    ]


def test_a_fault_of_the_file_is_told_beside_one_of_an_override(file: Path) -> None:
    file.write_text("training: {epochs: many}\n")
    head, of_file, of_override = told_of(file, "search.trials=abc").splitlines()
    assert head == f"{file} has 2 faults:"
    assert of_file == "  training.epochs: must be a whole number, got 'many'"
    assert of_override.endswith("got 'abc' (override search.trials=abc)")


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("search={trials: abc}", "search.trials"),
        ("search.space.rates.bias=[0.1, x]", "search.space.rates.bias.1"),
        ("confirm.seeds=[1, 1]", "confirm"),
        ("data.targets_root=x", "data.targets_root"),
        ("search.space.sites=[]", "search.space"),
    ],
)
def test_an_override_is_named_with_what_is_in_it_or_follows_from_it(
    file: Path, override: str, place: str
) -> None:
    told = told_of(file, override)
    assert told.startswith("the overrides have 1 fault:\n")
    assert told.splitlines()[1].startswith(f"  {place}: ")
    assert told.endswith(f"(override {override})")


def test_a_password_in_an_override_is_not_repeated(file: Path) -> None:
    assert "s3cret" not in told_of(file, "tracking.uri=http://me:s3cret@host")


def test_a_long_override_is_cut_short(file: Path) -> None:
    assert len(told_of(file, f"search.trials={'x' * 10_000}")) < 1000
    assert len(told_of(file, "search.trials=a\n\n b").splitlines()) == 2


def test_an_empty_file_is_the_default_study(file: Path) -> None:
    assert load_config(file) == StudyConfig()


@pytest.mark.parametrize("rates", [[0.1, 0.2], {"bias": [0.1], "ln": [0.2, 0.3]}])
def test_what_is_dumped_is_what_is_loaded(tmp_path: Path, rates: object) -> None:
    values = {
        "name": "mine",
        "data": {
            "root": "/some/where",
            "templates": ["ein {} ü."],
            "columns": {"image": "img"},
            "shots_from": "/some/shots",
        },
        "search": {"asha": None, "baselines": baselines(mine=clipfit())},
        "ablation": {"design": "only_one", "rates": rates},
        "storage": "elsewhere",
    }
    config = build_config(values, "here")
    (tmp_path / "study.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "study.yaml") == config


def test_a_home_folder_is_meant_where_paths_are(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file.write_text("storage: ~/studies\ndata: {root: ~/images, shots_from: ~/shots}\n")
    config = load_config(file, ["backbone.name=~/nowhere"])
    assert config.storage == tmp_path / "studies"
    assert (config.data.root, config.data.shots_from) == (tmp_path / "images", tmp_path / "shots")
    assert config.backbone.name == str(tmp_path / "nowhere")
    assert load_config(file, ["storage=./~odd"]).storage == tmp_path / "~odd"
    again = tmp_path / "again.yaml"
    again.write_text(dump_config(load_config(file, ["storage=./~odd"])))
    assert load_config(again).storage == tmp_path / "~odd"
    with pytest.raises(ConfigFaults, match="storage: begins with '~nobody-at-all', and"):
        load_config(file, ["storage=~nobody-at-all/x"])


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(("storage", "${HOME}/studies"), ("storage", "$HOME/studies"), ("storage", "/a/$X/b")),
        *(("data.root", "${DATA:-images}"), ("backbone.name", "$BACKBONE"), ("name", "${NAME}")),
        *(("data.templates", '["a ${X} {}"]'), ("tracking.uri", "http://${HOST}:5000")),
    ],
)
def test_a_variable_that_nothing_replaces_is_refused(file: Path, key: str, text: str) -> None:
    overridden = told_of(file, f"{key}={text}")
    file.write_text(f"{key}: {text}\n")
    for told in (overridden, told_of(file)):
        (fault,) = told.splitlines()[1:]
        assert fault.startswith(f"  {key}")
        assert "has $" in fault


def test_a_price_is_no_variable(file: Path) -> None:
    file.write_text("data: {templates: ['a {} for $5', 'US$ {}']}\n")
    assert load_config(file).data.templates == ("a {} for $5", "US$ {}")
