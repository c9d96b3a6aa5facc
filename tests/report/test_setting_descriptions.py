"""What a trial tunes is told in words that a sentence can hold, and in columns of a table."""

from pathlib import Path

import pytest
import yaml

from study.config.trial_settings import TrialSettings
from study.report.setting_descriptions import setting_cells, settings_in_words
from study.storage.ledger_files import JsonObject

SETTINGS = yaml.safe_load(Path(__file__).with_name("settings_in_words.yaml").read_text())


@pytest.mark.parametrize("settings, words", SETTINGS)
def test_settings_are_words_that_a_sentence_can_hold(settings: JsonObject, words: str):
    assert settings_in_words(TrialSettings.model_validate(settings)) == words


def test_nothing_weighs_where_nothing_is_tuned_and_a_head_that_is_not_known_yet_is_a_dash():
    frozen = TrialSettings(subset="none", head="linear", distill_weight=8)
    assert setting_cells(frozen) == ["linear", "1", "–", "–", "–"]
    searched = TrialSettings(
        subset="vision.ln", rates={"ln": 0.01}, distill_weight=8, head=None, strength=0.75
    )
    assert setting_cells(searched) == ["–", "0.75", "–", "0.01", "8"]
