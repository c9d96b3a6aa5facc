"""The trial of a proposal has what its subset has a use for."""

from pathlib import Path
from typing import Any

from transformers import CLIPConfig

from study.config.loading import build_config
from study.config.trial_settings import TrialSettings
from study.search.make_trial import Proposal, make_trial
from study.storage.study_folder import StudyFolder
from study.trial.study import TrialConfig, TrialData
from tests.search.conftest import METHODS
from tests.settings import ARCHITECTURE, settings, study_of

WITH_CONFIG = ARCHITECTURE._replace(config=CLIPConfig())
"""Of a model whose numbers can be counted."""


def make(data: TrialData, proposal: TrialSettings, **training: Any) -> TrialConfig:
    """Make the trial of a proposal, its number being 7."""
    config = build_config({"training": training}, "test")
    study = study_of(config, StudyFolder(Path("unread")), WITH_CONFIG)
    return make_trial(study, data, "search", Proposal(proposal, "search", 7))


def test_a_trial_has_the_rates_and_weight_that_have_an_effect(few_digits: TrialData):
    text = make(few_digits, settings("text.mlp.fc2.bias", 0.01, 0.02, 8.0))
    assert text.settings == settings("text.mlp.fc2.bias", 0.01, None, 8.0)
    vision = make(few_digits, settings("vision.ln", 0.01, 0.02, 8.0))
    assert vision.settings == settings("vision.ln", None, 0.02, 0.0)
    same, other = (make(few_digits, settings("vision.ln", None, rate)) for rate in (0.02, 0.01))
    assert vision.config_hash == same.config_hash != other.config_hash
    held = make(few_digits, settings("vision.ln", None, 0.02, 8.0), regularizer="l2_init")
    assert held.settings.distill_weight == 8.0, "it reaches every parameter"


def test_a_trial_knows_its_number_of_parameters(few_digits: TrialData):
    clipfit = make(few_digits, settings("clipfit", 0.01, 0.02, 8.0), epochs=5)
    assert clipfit.settings.subset == "text.mlp.fc2.bias + vision.ln"
    assert clipfit.trainable == 2 * 32 + (2 * 3 + 2) * 2 * 32
    assert (clipfit.trial_id, clipfit.epochs) == ("search-0007", 5)
    assert clipfit.split_hash == few_digits.digest[:16]
    nothing = make(few_digits, settings("none"), epochs=5)
    assert (nothing.trainable, nothing.epochs) == (0, 0)


def test_a_method_is_trained_by_its_own_settings_with_text_at_alpha_1(few_digits: TrialData):
    lora = {"method": "lora", "rank": 2}
    search = {"search": {"baselines": {**METHODS, "lora": lora}}}
    for label, method in build_config(search, "test").search.searched_methods.items():
        own = method.model_copy(update={"lr": 0.01})
        config = make(few_digits, TrialSettings(subset="none", method=own), epochs=5)
        assert config.settings == TrialSettings(subset="none", method=own)
        training = (config.training.optimizer, config.training.weight_decay)
        assert training == ("adamw", 0.0 if label == "projection" else 5e-4)
        assert config.training.regularizer == ("l2_init" if label == "projection" else "cosine")
        assert config.epochs == 5
        assert config.trainable == own.count(WITH_CONFIG)
