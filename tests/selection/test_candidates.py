"""What is confirmed is fixed by validation, and once."""

from pathlib import Path
from typing import Any

import pytest

from study.config.schema import FURTHER, RANKS, StudyConfig
from study.errors import StudyError
from study.selection.candidates import choose_candidates, finished_trials, fix_candidates
from study.storage.ledger import End, StudyFolder
from study.trial import TrialConfig
from study.trial.study import Candidate, Study

BASELINES = ("zero-shot", "clipfit")


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create("", {})
    return folder


def add(
    folder: StudyFolder, score: float, *, label: str = "", status: Any = "finished", **given: Any
) -> str:
    """Write a trial that ended."""
    number = len(list(folder.trials()))
    values: dict[str, Any] = {
        "trial_id": f"search-{number:04d}",
        "stage": "search",
        "arm": "baseline" if label in BASELINES else "search",
        "label": label or f"trial {number}",
        "number": number,
        "seed": 1,
        "subset": "vision.ln",
        "subset_key": "0",
        "trainable": 100,
        "ln_lr": 0.1,
        "epochs": 4,
        "split_hash": "0",
    }
    config = TrialConfig.model_validate(values | given)
    trial = folder.trial(config.trial_id)
    trial.create(config.model_dump(mode="json"))
    trial.append_report({"epoch": 3, "val_score": 1.0})
    if status == "finished":
        trial.append_report({"epoch": 4, "val_score": score})
    if status is not None:
        trial.write_end(
            End(status, 4, 1.0, error="Traceback\nboom" if status == "failed" else None)
        )
    return config.trial_id


def told(candidates: list[Candidate]) -> dict[str, tuple[str, str | None]]:
    """Return the origins of the candidates, without those that the winner or the folds add."""
    own = [c for c in candidates if c.label not in FURTHER]
    return {c.label: (str(c.source_trial)[-1], c.same_as) for c in own}


def test_a_score_is_the_last_epochs_and_only_finished_trials_count(folder: StudyFolder) -> None:
    add(folder, 0.5)
    for status in ("stopped", "failed", None):
        add(folder, 0.9, status=status)
    add(folder, 0.9, stage="confirm")
    add(folder, 0.6)
    assert [j.config.number for j in finished_trials(folder)] == [5, 0]
    assert [j.val_score for j in finished_trials(folder)] == [0.6, 0.5]


def test_among_equals_fewer_parameters_win_then_the_earlier_trial(folder: StudyFolder) -> None:
    add(folder, 0.5)
    add(folder, 0.5, trainable=90)
    add(folder, 0.5, trainable=90)
    assert [j.config.number for j in finished_trials(folder)] == [1, 2, 0]


def test_baselines_tuned_clipfit_and_the_best_are_candidates(folder: StudyFolder) -> None:
    add(folder, 0.2, label="zero-shot")
    add(folder, 0.4, label="clipfit")
    add(folder, 0.9)
    add(folder, 0.7, arm="clipfit-tuned")
    add(folder, 0.6)
    add(folder, 0.8)
    chosen = choose_candidates(finished_trials(folder), BASELINES, runners_up=1)
    assert told(chosen) == {
        "zero-shot": ("0", None),
        "clipfit": ("1", None),
        "clipfit-tuned": ("3", None),
        "best": ("2", None),
        "second": ("5", None),
    }


def test_a_baseline_may_win_and_is_then_trained_once(folder: StudyFolder) -> None:
    add(folder, 0.2, label="zero-shot")
    add(folder, 0.9, label="clipfit")
    add(folder, 0.7, arm="clipfit-tuned")
    chosen = choose_candidates(finished_trials(folder), BASELINES, runners_up=1)
    assert told(chosen) == {
        "zero-shot": ("0", None),
        "clipfit": ("1", None),
        "clipfit-tuned": ("1", "clipfit"),  # the published rates are a choice of its search too
        "best": ("1", "clipfit"),
        "second": ("2", None),
    }


def test_fewer_trials_than_runners_up_are_all_candidates(folder: StudyFolder) -> None:
    add(folder, 0.5)
    chosen = choose_candidates(finished_trials(folder), BASELINES, runners_up=len(RANKS) - 1)
    assert told(chosen) == {"best": ("0", None)}


def test_the_choice_is_written_once_and_kept(folder: StudyFolder) -> None:
    add(folder, 0.5)
    first = fix_candidates(Study(StudyConfig(), folder))
    add(folder, 0.9)
    assert fix_candidates(Study(StudyConfig(), folder)) == first
    assert folder.read_json("candidates.json")[0]["val_score"] == 0.5


def test_nothing_to_confirm_is_told_with_the_last_error(folder: StudyFolder) -> None:
    add(folder, 0.5, status="failed")
    with pytest.raises(StudyError, match=r"no trial of mine ran all its epochs.*boom$"):
        fix_candidates(Study(StudyConfig(), folder))
    assert folder.read_json("candidates.json") is None
