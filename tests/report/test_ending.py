"""The last lines of a run name the score, what won, and commands that can be pasted.

What they say of each kind of study stands in `told/`, with all other sentences.
"""

import shutil
from pathlib import Path

import pytest

from study.config.loading import load_config
from study.report.ending import findings, next_steps
from study.report.formatting import format_difference
from study.storage.study_folder import REGISTERED, Registration, StudyFolder
from study.trial.study import Study
from study.workflow.extension import extended_config
from tests.changed_studies import board_of, configure
from tests.fake_studies import add_candidate, edit_candidates


def last_lines(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    board = board_of(folder)
    return dict(findings(board)), dict(next_steps(board))


def test_what_to_type_next_names_the_study_where_it_is(
    few_shot_study: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(few_shot_study.parent.parent)
    storage, name = few_shot_study.parts[-2:]
    _, steps = last_lines(few_shot_study)
    assert steps["report"] == f"{storage}/{name}/report.html"
    where = "" if storage == "runs" else f" storage=./{storage}"
    assert steps["label"] == f"clipfit-study predict {name}{where} FOLDER"
    assert steps["go on"] == f"clipfit-study extend {name}{where} search.trials=+50"


def test_every_planned_comparison_stands_at_the_end_in_its_order(few_shot_study: Path):
    add_candidate(few_shot_study, "linear", 0.01, val_score=0.6, head="linear")
    board = board_of(few_shot_study)
    against = [text for word, text in findings(board) if word == "against"]
    assert len(against) == 2
    for label, text in zip(("linear", "clipfit-tuned"), against, strict=True):
        assert format_difference(board.planned_comparisons[label]) in text


@pytest.mark.parametrize("limit", ["null", "35", "0.5"])
def test_what_is_told_to_go_on_is_what_extend_takes(few_shot_study: Path, limit: str):
    configure(few_shot_study, f"search.minutes={limit}")
    trial = StudyFolder(few_shot_study).trial("search-0000")
    trial.append_report({"epoch": 0, "seconds": 3000.0, "ended_at": 1e9})
    _, steps = last_lines(few_shot_study)
    *_, overrides = steps["go on"].partition(" search.")
    study = Study(load_config(few_shot_study / "study.yaml"), StudyFolder(few_shot_study))
    extended = extended_config(study, [f"search.{each}" for each in overrides.split(" search.")])
    assert extended.search.trials == study.config.search.trials + 50


@pytest.mark.parametrize(
    "champion, address",
    [
        (True, "models:/letters@champion"),
        (False, "models:/letters/3 (not champion, see the report)"),
    ],
)
def test_a_registered_winner_is_named_where_mlflow_has_it(
    few_shot_study: Path, champion: bool, address: str
):
    registration = Registration("letters", "3", champion, "it is the first")
    StudyFolder(few_shot_study).write_json(REGISTERED, registration)
    _, steps = last_lines(few_shot_study)
    assert steps["model"] == address


def test_nothing_can_be_labelled_or_extended_without_a_winner_or_a_search(ablation_study: Path):
    found, steps = last_lines(ablation_study)
    assert list(found) == ["found"]
    assert list(steps) == ["report", "tables"]


def test_a_study_that_has_tested_nothing_says_so(untested_study: Path):
    found, steps = last_lines(untested_study)
    assert found == {"tested": "nothing yet"}
    assert "label" not in steps


def test_the_one_tuned_configuration_of_a_study_without_a_search_can_label(few_shot_study: Path):
    for trial in few_shot_study.glob("trials/*"):
        kept = trial.name.startswith(("test-clipfit-seed", "test-zero-shot-seed"))
        if not kept:
            shutil.rmtree(trial)
    edit_candidates(few_shot_study, lambda candidates: candidates.clear())
    delta = few_shot_study / "trials/test-clipfit-seed1/delta.safetensors"
    delta.touch()
    found, steps = last_lines(few_shot_study)
    assert "zero-shot CLIP 60.0" in found["tested"]
    assert steps["label"] == f"clipfit-study predict {delta} FOLDER"
    assert "go on" not in steps
