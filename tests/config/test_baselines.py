"""Baselines: the published ones, settings of one's own, and other methods."""

from pathlib import Path

import pytest

from study.config.baselines import published_baselines
from study.config.loading import build_config, dump_config, load_config
from study.config.trial_settings import TrialSettings
from tests.config_faults import baselines, clipfit


def test_the_published_baselines_are_clip_its_linear_head_and_three_subsets():
    published = published_baselines()
    assert list(published) == ["zero-shot", "clipfit", "bitfit", "ln", "linear"]
    assert published == dict(build_config({}, "here").search.baselines)


FILE = """
search:
  baselines:
    mine: {subset: ln, rates: {ln: 0.1}}
    full: {method: full}
    bitfit: null
"""


@pytest.mark.parametrize(
    "overrides, labels",
    [
        (["search.baselines.bitfit={subset: bitfit, rates: {bias: 1, ln: 1}}"],
         "zero-shot clipfit ln linear mine full bitfit"),
        (["search.baselines.mine=null", "search.baselines.ln=null"],
         "zero-shot clipfit linear full"),
        (["search.baselines={ln: null, yours: {subset: none}}"],
         "zero-shot clipfit bitfit linear yours"),
    ],
)  # fmt: skip
def test_entries_are_added_to_the_published_and_null_removes_one(
    tmp_path: Path, overrides: list[str], labels: str
):
    file = tmp_path / "mine.yaml"
    file.write_text(FILE)
    config = load_config(file, overrides)
    assert list(config.search.kept_baselines) == labels.split()
    file.write_text(dump_config(config))
    assert load_config(file) == config, "what was removed stays so in the study that began"


def test_an_entry_replaces_the_whole_one_of_its_label():
    values = {"search": {"baselines": {"clipfit": clipfit()}}}
    search = build_config(values, "here").search
    assert search.fixed_baselines["clipfit"] == TrialSettings(**clipfit())
    assert search.baselines.keys() == published_baselines().keys()


def test_other_methods_stand_outside_the_trials_and_have_trials_of_their_own():
    methods = {name: {"method": name} for name in ("linear", "full", "lora")}
    given = baselines(mine=clipfit(), **methods)
    search = build_config({"search": {"baselines": given, "method_trials": 5}}, "here").search
    assert list(search.fixed_baselines) == ["zero-shot", "clipfit", "mine", "linear"]
    assert list(search.other_methods) == ["linear", "full", "lora"]
    assert search.planned_trials == search.trials + 1 + 2 * 5
