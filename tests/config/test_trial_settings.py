"""TrialSettings: one record of what is tuned and how fast, and nothing in it that has no effect."""

import pytest

from study.config.methods import FullFineTuning, Lora, Method
from study.config.trial_settings import TrialSettings, settings_columns
from tests.settings import settings

FLAT = {"subset": "clipfit", "bias_lr": 0.1, "ln_lr": None, "distill_weight": 2.0}


def test_the_flat_form_of_tables_comes_back():
    read = TrialSettings.from_column_values(FLAT)
    assert read == settings("clipfit", 0.1, None, 2.0)
    flat = read.column_values()
    assert {name: flat[name] for name in FLAT} == {
        **FLAT,
        "subset": "text.mlp.fc2.bias + vision.ln",
    }
    assert tuple(flat) == settings_columns()
    assert flat.pop("method_lr") is None
    assert TrialSettings.from_column_values(flat) == read


def test_linear_on_frozen_clip_is_another_method_and_zero_shot_is_none():
    linear = TrialSettings(subset="none", head="linear")
    assert (linear.is_other_method, linear.writes_delta) == (True, True)
    assert not TrialSettings(subset="none").is_other_method
    own = settings("vision.ln", None, 0.1).model_copy(update={"head": None})
    assert own.with_reported_head({}) == own
    assert own.with_reported_head({"head": "linear"}).head == "linear"
    assert not own.with_reported_head({"head": "linear"}).is_other_method


@pytest.mark.parametrize("method", [FullFineTuning(lr=0.1), Lora(lr=0.1)])
def test_a_method_has_its_name_for_a_subset_and_keeps_its_alpha(method: Method):
    own = TrialSettings(
        subset="none", method=method, alpha=0.75, rates={"ln": 0.1}, distill_weight=8
    )
    assert (own.column_values()["subset"], own.column_values()["method_lr"]) == (method.method, 0.1)
    found = own.effective((), "cosine")
    assert found == TrialSettings(subset="none", method=method, alpha=0.75)
    assert (found.is_other_method, found.writes_delta) == (True, False)
    assert hash(TrialSettings.model_validate(found.model_dump(mode="json"))) == hash(found)
