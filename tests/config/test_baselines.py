"""Baselines: the published ones, settings of one's own, and other methods."""

from pathlib import Path

import pytest

from study.config.baselines import published_baselines
from study.config.loading import build_config, dump_config, load_config
from study.config.trial_settings import TrialSettings
from tests.config_faults import clipfit

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
