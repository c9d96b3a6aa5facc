"""YAML and overrides are read as people mean them, and what is written is what is read."""

from pathlib import Path

import pytest
import yaml

from study.config.loading import load_config
from study.config.yaml_text import commented_yaml, yaml_on_one_line
from tests.not_none import not_none
from tests.settings import settings


def test_what_is_merged_gives_way_to_what_is_given(file: Path):
    file.write_text(
        "search:\n"
        "  baselines:\n"
        "    zero-shot: {subset: none}\n"
        "    clipfit: &rates {subset: clipfit, rates: {bias: 0.1, ln: 0.2}}\n"
        "    ln: {<<: *rates, subset: ln, rates: {ln: 0.3}}\n"
    )
    assert load_config(file).search.fixed_baselines["ln"] == settings("ln", None, 0.3)


def test_names_and_paths_are_text_whatever_yaml_takes_them_for(file: Path):
    overrides = ["name=0123", "data.root=[x]/pets", "storage=2026"]
    overrides += ["data.shots=2", "data.short=take_all"]  # neighbours
    config = load_config(file, overrides)
    assert (config.name, config.data.shots, config.data.short) == ("0123", 2, "take_all")
    assert (config.data.root, config.storage) == (Path("[x]/pets"), Path("2026"))
    config = load_config(file, ["name=null", 'data.root="[x]"', "data.shots_from=[x]"])
    assert config.name is None
    assert config.data.root == config.data.shots_from == Path("[x]")


@pytest.mark.parametrize("text", ["010", "+50", "1_000", "1e3", "1.5", "-0"])
def test_a_number_that_is_meant_is_taken(file: Path, text: str):
    config = load_config(file, [f"data.pixel_range=[-1, {text}]"])
    assert config.data.pixel_range == (-1, float(text))


def test_keys_with_dots_may_stand_at_the_top_of_a_file(file: Path):
    file.write_text("search.trials: 30\nsearch: {minutes: 5}\nsearch.asha.grace_period: 4\n")
    search = load_config(file).search
    assert (search.trials, search.minutes, not_none(search.asha).grace_period) == (30, 5, 4)
    assert load_config(file, ["search.trials=40"]).search.trials == 40


VALUES = {
    "data": {
        "root": "a: b # 'c'\n\"d\"",
        "groups": "x\nseed: 2\ny",
        "columns": {"path": "- file"},
        "splits": {},
        "templates": ["a, {}", "#"],
    },
    "search": {"space": {"rates": {"bias": [1e-05, 1.0]}}, "asha": None, "sampler": "no"},
    "name": "1e3",
}


@pytest.mark.parametrize("comment", ["", "begins", "begins:" + " #" * 99])
def test_comments_change_no_value(comment: str):
    keys = ["data", "data.root", "data.groups", "search.space", "search.space.rates", "name"]
    text = commented_yaml(VALUES, dict.fromkeys(keys, comment))
    assert yaml.safe_load(text) == VALUES
    assert text.count("# begins") == (len(keys) if comment else 0)
    assert "    rates: {bias: [1.0e-05, 1.0]}" in text


@pytest.mark.parametrize("value", ["", "a\x85b", "\ufeff", "null", "012", "---", "a\u2028b"])
def test_a_text_stays_on_its_line_and_a_text(value: str):
    text = yaml_on_one_line(value)
    assert "\n" not in text
    assert yaml.safe_load(f"key: {text} # comment\n") == {"key": value}
