"""Baselines: the published ones, settings of one's own, and other methods."""

from pathlib import Path

import pytest

from study.config.baselines import published_baselines
from study.config.loading import build_config, dump_config, load_config
from study.config.sweep import load_sweep
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
        ([], "zero-shot clipfit ln linear mine full"),
        (["search.baselines.bitfit={subset: bitfit, rates: {bias: 1, ln: 1}}"],
         "zero-shot clipfit ln linear mine full bitfit"),
        (["search.baselines.mine=null", "search.baselines.ln=null"],
         "zero-shot clipfit linear full"),
        (["search.baselines={mine: null, yours: {subset: none}}"],
         "zero-shot clipfit ln linear full yours"),
        (["search.baselines={}"], "zero-shot clipfit ln linear mine full"),
    ],
)  # fmt: skip
def test_entries_are_added_to_what_is_there_and_null_removes_one(
    tmp_path: Path, overrides: list[str], labels: str
):
    file = tmp_path / "mine.yaml"
    file.write_text(FILE)
    config = load_config(file, overrides)
    assert list(config.search.baselines) == labels.split()
    file.write_text(dump_config(config))
    assert load_config(file) == config, "what was removed stays so in the study that began"


def test_an_entry_replaces_the_whole_one_of_its_label():
    values = {"search": {"baselines": {"clipfit": clipfit()}}}
    baselines_of = build_config(values, "here").search.fixed_baselines
    assert baselines_of["clipfit"] == TrialSettings(**clipfit())
    assert baselines_of.keys() == published_baselines().keys()


def test_an_exception_of_a_sweep_adds_and_removes_entries(tmp_path: Path):
    file = tmp_path / "grid.yaml"
    file.write_text(
        "sweep: {seed: [1, 2]}\nexceptions:\n- for: {seed: [2]}\n"
        f"  set: {{search.baselines: {{ln: null, mine: {{subset: none}}}}}}\n{FILE}"
    )
    first, second = [[*member.config.search.baselines] for member in load_sweep(file)]
    assert first == ["zero-shot", "clipfit", "ln", "linear", "mine", "full"]
    assert second == ["zero-shot", "clipfit", "linear", "mine", "full"]


def test_a_subset_is_kept_in_its_canonical_form():
    values = {
        "search": {"baselines": baselines(mine=clipfit(subset="vision.ln+text.mlp.fc2.bias"))}
    }
    mine = build_config(values, "here").search.fixed_baselines["mine"]
    assert mine.subset == TrialSettings(**clipfit()).subset == "text.mlp.fc2.bias + vision.ln"
