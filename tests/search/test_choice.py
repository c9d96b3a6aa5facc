"""What is tested is fixed by validation, and once."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from study.config.labels import RANKS
from study.config.loading import build_config
from study.config.trial_settings import TrialSettings
from study.errors import StudyError
from study.results.best_configuration import final_candidate
from study.search.choice import (
    choose_candidates,
    fix_candidates,
    make_candidate,
    rank_finished_trials,
    training_hash,
)
from study.storage.study_folder import StudyFolder
from study.trial.study import best_candidate
from tests.not_none import not_none
from tests.search.ended_trials import BASELINES, add
from tests.settings import settings, study_of
from tests.written_study import Written


def add_method(written: Written, score: float, **given: Any) -> str:
    """Write a trial of full fine-tuning."""
    method = {"method": "full", "lr": score / 100}
    own = {"group": "full", "subset": "none", "ln_lr": None, "method": method, **given}
    return add(written, score, **own)


def choose(
    written: Written, baselines: Sequence[str] = BASELINES, runners_up: int = 0
) -> dict[str, int]:
    """The number of the trial that each label stands for."""
    chosen = choose_candidates(rank_finished_trials(written.folder), baselines, runners_up)
    return {label: trial.config.number for label, trial in chosen.items()}


def test_baselines_tuned_clipfit_and_the_best_are_candidates(written: Written):
    add(written, 0.2, label="zero-shot")
    add(written, 0.4, label="clipfit")
    add(written, 0.9)
    add(written, 0.7, group="clipfit-tuned")
    add(written, 0.6)
    add(written, 0.8)
    assert choose(written, runners_up=1) == {
        "zero-shot": 0,
        "clipfit": 1,
        "clipfit-tuned": 3,
        "best": 2,
        "second": 5,
    }


def test_a_baseline_may_be_the_best(written: Written):
    add(written, 0.2, label="zero-shot")
    add(written, 0.9, label="clipfit")
    add(written, 0.7, group="clipfit-tuned")
    assert choose(written, runners_up=1) == {
        "zero-shot": 0,
        "clipfit": 1,
        "clipfit-tuned": 1,  # the published rates are a choice of its search too
        "best": 1,
        "second": 2,
    }


def test_fewer_trials_than_runners_up_are_all_candidates(written: Written):
    add(written, 0.5)
    assert choose(written, runners_up=len(RANKS) - 1) == {"best": 0}


def test_the_choice_is_written_once_and_kept(written: Written):
    add(written, 0.5)
    first = fix_candidates(written.study)
    add(written, 0.9)
    assert fix_candidates(written.study) == first
    assert written.folder.read_json("candidates.json")[0]["val_score"] == 0.5


def test_nothing_to_test_is_told_with_the_last_error(written: Written):
    add(written, 0.5, status="failed")
    with pytest.raises(StudyError, match=r"no trial of mine ran all its epochs.*boom$"):
        fix_candidates(written.study)
    assert written.folder.read_json("candidates.json") is None


def test_a_candidate_has_the_head_that_its_trial_found(written: Written):
    add(written, 0.9, head=None, report={"head": "linear"})
    (best,) = choose_candidates(rank_finished_trials(written.folder), (), 0).values()
    assert best.settings.head == "linear"


def test_a_training_is_named_by_what_it_trains_alone(tmp_path: Path):
    config = build_config({"name": "mine", "training": {"epochs": 8}}, "test")
    study = study_of(config, StudyFolder(tmp_path / "mine"))
    mine = settings("vision.ln", None, 0.1)
    name = training_hash(study, mine)
    assert re.fullmatch("[0-9a-f]{12}", name)
    same = [
        mine.model_copy(update={"head": "linear"}),
        settings("vision.ln + text.ln - text.ln", None, 0.1),
        settings("vision.ln", 0.3, 0.1, 5.0),  # no bias is tuned, and no text
    ]
    assert {training_hash(study, one) for one in same} == {name}
    reseeded = study_of(config.model_copy(update={"seed": 7}), study.folder)
    assert training_hash(reseeded, mine) == name
    longer = study_of(config.with_section("training", epochs=9), study.folder)
    others = [
        training_hash(study, settings("vision.ln", None, 0.2)),
        training_hash(study, settings("text.ln", None, 0.1)),
        training_hash(study, mine.model_copy(update={"strength": 0.5})),
        training_hash(longer, mine),
    ]
    assert len({name, *others}) == 5


def test_zero_shot_and_a_linear_classifier_on_frozen_clip_share_a_training(tmp_path: Path):
    study = study_of(build_config({"name": "mine"}, "test"), StudyFolder(tmp_path / "mine"))
    zero_shot, linear = (
        make_candidate(study, label, TrialSettings(subset="none", head=head))
        for label, head in (("zero-shot", "text"), ("linear", "linear"))
    )
    assert zero_shot.training == linear.training
    assert zero_shot.tested != linear.tested


def test_another_method_may_win_and_the_best_with_a_delta_is_registered(written: Written):
    add(written, 0.2, label="zero-shot")
    add(written, 0.4, label="clipfit")
    add_method(written, 0.85)
    add_method(written, 0.9)
    add(written, 0.7)
    add(written, 0.8)
    assert choose(written, (*BASELINES, "full"), runners_up=1) == {
        "zero-shot": 0,
        "clipfit": 1,
        "full": 3,
        "clipfit-tuned": 1,
        "best": 3,
        "second": 2,
        "best-with-delta": 5,
    }
    chosen = fix_candidates(written.study)
    best = not_none(best_candidate(chosen))
    assert (best.source_trial, not_none(final_candidate(chosen)).source_trial) == (
        "search-0003",
        "search-0005",
    )


def test_a_score_is_the_last_epochs_and_only_finished_trials_count(written: Written):
    add(written, 0.5)
    for status in ("stopped", "failed", None):
        add(written, 0.9, status=status)
    add(written, 0.9, stage="test")
    add(written, 0.6)
    ranked = rank_finished_trials(written.folder)
    assert [(judged.config.number, judged.val_score) for judged in ranked] == [(5, 0.6), (0, 0.5)]


def test_among_equals_fewer_parameters_win_then_the_earlier_trial(written: Written):
    add(written, 0.5)
    add(written, 0.5, trainable=90)
    add(written, 0.5, trainable=90)
    assert [j.config.number for j in rank_finished_trials(written.folder)] == [1, 2, 0]
