"""YAML and overrides are read as people mean them, and what is written is what is read."""

from pathlib import Path

import pytest
import yaml

from study.config.loading import load_config
from study.config.yaml_text import commented_yaml, yaml_on_one_line
from study.errors import FaultsError
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


@pytest.mark.parametrize("text", ["+50", "1_000", "1e3", "1.5", "-0", ".5e-3"])
def test_a_number_that_is_meant_is_taken(file: Path, text: str):
    config = load_config(file, [f"data.pixel_range=[-1, {text}]"])
    assert config.data.pixel_range == (-1, float(text))


@pytest.mark.parametrize("text", ["true", "'4'", "1:30", "010", "2001-02-03"])
def test_what_is_no_number_is_refused_for_one(file: Path, text: str):
    with pytest.raises(FaultsError, match=r"data\.pixel_range\.1: Input should be a valid number"):
        load_config(file, [f"data.pixel_range=[-1, {text}]"])


def test_keys_with_dots_are_for_overrides(file: Path):
    file.write_text("search: {asha.grace_period: 4}\nsearch.trials: 30\n")
    with pytest.raises(FaultsError) as caught:
        load_config(file)
    keys = [fault.key for fault in caught.value.faults]
    assert keys == ["search.asha.grace_period", "search.trials"]
    assert all("inside its section" in fault.message for fault in caught.value.faults)


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


@pytest.mark.parametrize("value", ["", "a\x85b", "\ufeff", "null", "012", "1e3", "---", "a\u2028b"])
def test_a_text_stays_on_its_line_and_a_text(value: str):
    text = yaml_on_one_line(value)
    assert "\n" not in text
    assert yaml.safe_load(f"key: {text} # comment\n") == {"key": value}
