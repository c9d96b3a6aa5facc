"""What is tested is fixed by validation, and once."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from study.config.loading import build_config
from study.errors import StudyError
from study.results.best_configuration import final_candidate
from study.search.candidates import (
    choose_candidates,
    rank_finished_trials,
    read_or_choose_candidates,
    training_hash,
)
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End, Status
from study.trial.study import best_candidate
from tests.not_none import not_none
from tests.settings import settings, study_of
from tests.study_writer import EPOCHS, StudyWriter

BASELINES = ("zero-shot", "clipfit")


def add(written: StudyWriter, score: float, status: Status | None = "finished", **given: Any):
    """Write a trial that has a score after its last epoch if it finished; None: it is open."""
    config = written.trial(len(list(written.folder.trials())), **given)
    trial = written.folder.trial(config.trial_id)
    trial.append_reports({"epoch": EPOCHS - 1, "val_score": 1.0})
    if status == "finished":
        trial.append_reports({"epoch": EPOCHS, "val_score": score, "head": "linear"})
    if status is not None:
        trial.write_end(End(status, EPOCHS, 1.0, reason="boom"))


def write(written: StudyWriter, trials: Sequence[tuple[str, float]]):
    """Write finished trials, each of a baseline or group and with a score."""
    for group, score in trials:
        if group in BASELINES:
            add(written, score, group="baseline", label=group)
        elif group == "full":
            method = {"method": "full", "lr": score / 100}
            add(written, score, group=group, subset="none", ln_lr=None, method=method)
        else:
            add(written, score, group=group)


ALL = [("zero-shot", 0.2), ("clipfit", 0.4), ("search", 0.9), ("clipfit-tuned", 0.7)]
METHOD = [("zero-shot", 0.2), ("clipfit", 0.4), ("full", 0.85), ("full", 0.9), ("search", 0.7)]


@pytest.mark.parametrize(
    "trials, chosen",
    [
        (
            [*ALL, ("search", 0.6), ("search", 0.8)],
            {"zero-shot": 0, "clipfit": 1, "clipfit-tuned": 3, "best": 2, "second": 5},
        ),
        (  # the published rates are among those of tuned CLIPFit's search, too
            [("zero-shot", 0.2), ("clipfit", 0.9), ("clipfit-tuned", 0.7)],
            {"zero-shot": 0, "clipfit": 1, "clipfit-tuned": 1, "best": 1, "second": 2},
        ),
        (
            [*METHOD, ("search", 0.8)],
            {"zero-shot": 0, "clipfit": 1, "full": 3, "clipfit-tuned": 1}
            | {"best": 3, "second": 2, "best-with-delta": 5},
        ),
        ([("search", 0.5)], {"best": 0}),
    ],
    ids=["all", "a baseline is the best", "a method is the best", "one alone"],
)
def test_baselines_the_best_of_each_method_and_the_best_are_candidates(
    written: StudyWriter, trials: Sequence[tuple[str, float]], chosen: dict[str, int]
):
    write(written, trials)
    ranked = rank_finished_trials(written.folder)
    found = choose_candidates(ranked, (*BASELINES, "full"), runners_up=1)
    assert {label: trial.config.number for label, trial in found.items()} == chosen


def test_a_selection_is_kept_and_its_best_with_a_delta_is_final(written: StudyWriter):
    write(written, METHOD)
    candidates = read_or_choose_candidates(written.study)
    best = not_none(best_candidate(candidates))
    assert best.source_trial == "search-0003"
    assert not_none(final_candidate(candidates)).source_trial == "search-0004"
    add(written, 0.99)
    assert read_or_choose_candidates(written.study) == candidates
    earlier = best.as_earlier()
    assert earlier.as_earlier().label == earlier.label == "best-of-48"


def test_nothing_to_test_is_reported_with_the_last_error(written: StudyWriter):
    add(written, 0.5, "failed")
    with pytest.raises(StudyError, match=r"no trial of study 'mine' ran all its epochs.*boom$"):
        read_or_choose_candidates(written.study)
    assert written.folder.read_json("candidates.json") is None


def test_a_candidate_has_the_head_that_its_trial_found(written: StudyWriter):
    add(written, 0.9, head=None)
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
        training_hash(study, mine.model_copy(update={"alpha": 0.5})),
        training_hash(longer, mine),
    ]
    assert len({name, *others}) == 5


def test_finished_trials_rank_by_score_then_size_then_number(written: StudyWriter):
    add(written, 0.5)
    for status in ("stopped", "failed", None):
        add(written, 0.9, status)
    add(written, 0.9, stage="test")
    add(written, 0.6)
    add(written, 0.5, trainable=90)
    add(written, 0.5, trainable=90)
    ranked = rank_finished_trials(written.folder)
    numbered = [(trial.config.number, trial.val_score) for trial in ranked]
    assert numbered == [(5, 0.6), (6, 0.5), (7, 0.5), (0, 0.5)]
