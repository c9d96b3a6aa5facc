"""The last lines of a run name the score, what won, and commands that can be pasted."""

from pathlib import Path

import pytest

from study.commands.extension import extended_config
from study.config.loading import load_config
from study.report.ending import findings, next_steps
from study.storage.study_folder import REGISTERED, Registration, StudyFolder
from study.trial.study import Study
from tests.changed_studies import board_of, configure
from tests.report.conftest import drop_search, drop_tests


def last_lines(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    board = board_of(folder)
    return dict(findings(board)), dict(next_steps(board))


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


def test_a_version_that_is_not_champion_is_named_by_its_number(few_shot_study: Path):
    for champion, address in ((True, "models:/letters@champion"), (False, "models:/letters/3")):
        registration = Registration("letters", "3", champion, "it is the first")
        StudyFolder(few_shot_study).write_json(REGISTERED, registration)
        _, steps = last_lines(few_shot_study)
        assert steps["model"].split(" ")[0] == address


def test_nothing_can_be_labelled_or_extended_without_a_winner_or_a_search(
    ablation_study: Path, untested_study: Path
):
    found, steps = last_lines(ablation_study)
    assert (list(found), list(steps)) == (["found"], ["report", "tables"])
    found, steps = last_lines(untested_study)
    assert list(found) == ["tested"]
    assert "label" not in steps


def test_the_one_tuned_configuration_of_a_study_without_a_search_can_label(few_shot_study: Path):
    drop_tests(drop_search(few_shot_study), "bitfit", "clipfit-tuned")
    delta = few_shot_study / "trials/test-clipfit-seed1/delta.safetensors"
    delta.touch()
    found, steps = last_lines(few_shot_study)
    assert "60.0" in found["tested"]
    assert steps["label"] == f"clipfit-study predict {delta} FOLDER"
    assert "go on" not in steps
