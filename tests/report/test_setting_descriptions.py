"""What a trial tunes is described in words that a sentence can hold, and in columns of a table."""

from study.config.trial_settings import TrialSettings
from study.report.setting_descriptions import setting_cells, settings_in_words


def test_a_head_and_alpha_are_named_where_they_are_not_clipfits_own():
    assert settings_in_words(TrialSettings(subset="vision.ln")) == "vision.ln"
    words = settings_in_words(TrialSettings(subset="vision.ln", head="linear", strength=0.75))
    assert [word in words for word in ("vision.ln", "linear", "0.75")] == [True] * 3
    assert "linear" in settings_in_words(TrialSettings(subset="none", head="linear"))
    assert "linear" not in settings_in_words(TrialSettings(subset="none"))


def test_another_method_is_named_with_its_numbers():
    method = {"method": "lora", "lr": 0.01}
    words = settings_in_words(TrialSettings.model_validate({"subset": "none", "method": method}))
    assert [word in words for word in ("LoRA", "rank 4", "lr 0.01")] == [True] * 3


def test_nothing_weighs_where_nothing_is_tuned_and_a_head_that_is_not_known_yet_is_a_dash():
    frozen = TrialSettings(subset="none", head="linear", distill_weight=8)
    assert setting_cells(frozen) == ["linear", "1", "–", "–", "–"]
    searched = TrialSettings(
        subset="vision.ln", rates={"ln": 0.01}, distill_weight=8, head=None, strength=0.75
    )
    assert setting_cells(searched) == ["–", "0.75", "–", "0.01", "8"]
