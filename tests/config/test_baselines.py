"""Baselines: the published ones, settings of one's own, and peers."""

from study.config.baselines import published_baselines
from study.config.loading import build_config
from study.config.trial_settings import TrialSettings
from tests.config_faults import baselines, check_faults, clipfit

test_a_fault_of_a_baseline_is_told_with_its_path = check_faults("baselines")


def test_the_published_baselines_are_clip_its_linear_head_and_three_subsets():
    published = published_baselines()
    assert list(published) == ["zero-shot", "clipfit", "bitfit", "ln", "linear"]
    assert published == dict(build_config({}, "here").search.baselines)


def test_a_subset_is_kept_in_its_canonical_form():
    values = {
        "search": {"baselines": baselines(mine=clipfit(subset="vision.ln+text.mlp.fc2.bias"))}
    }
    mine = build_config(values, "here").search.fixed_baselines["mine"]
    assert mine.subset == TrialSettings(**clipfit()).subset == "text.mlp.fc2.bias + vision.ln"
