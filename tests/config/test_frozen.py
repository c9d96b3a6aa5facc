"""A study that exists goes on as it was, whatever the defaults of today are."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from study.config.frozen import BEFORE, as_frozen, load_frozen
from study.config.loading import build_config, dump_config, load_config


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """What a version without heads and strengths wrote."""
    ablation = {"protocol": "base_to_new", "ablation": {"design": "only_one"}}
    values = yaml.safe_load(dump_config(build_config(ablation, "here")))
    for key in ("heads", "neighbours"):
        del values["search"]["space"][key]
    del values["confirm"]["strength"]
    del values["ablation"]["extend"]
    del values["search"]["baselines"]["linear"]
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def used(config: Any) -> tuple[Any, ...]:
    return (
        *(config.search.space.heads, config.confirm.strength, tuple(config.search.baselines)),
        config.ablation and config.ablation.extend,
    )


BASELINES = ("zero-shot", "clipfit", "bitfit", "ln")


def test_a_study_of_an_earlier_version_has_neither_head_nor_strength(earlier: Path) -> None:
    frozen = load_frozen(earlier)
    assert used(frozen) == (("text",), 1.0, BASELINES, False)
    assert frozen.protocol == "base_to_new"
    assert used(load_config(earlier)) == (("text", "linear"), None, BASELINES, True)
    assert load_frozen(earlier, ["confirm.strength=0.5"]).confirm.strength == 0.5
    earlier.write_text(dump_config(frozen))
    assert load_config(earlier) == load_frozen(earlier) == frozen


def test_what_the_study_says_itself_is_left(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    for values in ({}, {"confirm": {"strength": 0.5}, "search": {"space": {"heads": ["linear"]}}}):
        config = build_config(values, "here")
        path.write_text(dump_config(config))
        assert load_frozen(path) == config


def test_a_sweep_goes_on_with_its_study_as_it_was(earlier: Path) -> None:
    values = {"search": {"trials": 0}, "ablation": {"design": "only_one"}}
    today = build_config({"protocol": "base_to_new", **values}, "here")
    assert used(as_frozen(today, earlier)) == (("text",), 1.0, BASELINES, False)
    assert as_frozen(today, earlier).search.trials == 0
    wanted = build_config({"confirm": {"strength": 0.5}}, "here")
    assert as_frozen(wanted, earlier).confirm.strength == 0.5, "who asks for it is not overruled"
    assert as_frozen(wanted, earlier).ablation is None
    earlier.write_text(dump_config(today))
    assert as_frozen(today, earlier) == today
    earlier.unlink()
    assert as_frozen(today, earlier) == today


@pytest.mark.parametrize("key", BEFORE)
def test_every_key_is_one_of_the_configuration(key: str, earlier: Path) -> None:
    assert load_frozen(earlier, [f"{key}={BEFORE[key]}"]) == load_frozen(earlier)
