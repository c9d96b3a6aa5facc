"""Trials are read as their files stand, repeated epochs included."""

from pathlib import Path

from study.results.study_results import read_results


def test_a_trial_without_a_configuration_is_left_out(few_shot_study: Path):
    (few_shot_study / "trials/begun").mkdir()
    assert "begun" not in {trial.trial_id for trial in read_results(few_shot_study).trials}


def test_of_an_epoch_done_again_after_a_crash_the_later_report_holds_and_work_counts_twice(
    few_shot_study: Path,
):
    path = few_shot_study / "trials/search-0005/reports.jsonl"
    path.write_text(
        '{"epoch": 1, "val_score": 0.1, "seconds": 2.0, "ended_at": 12.0}\n'
        '{"epoch": 1, "val_score": 0.2, "seconds": 3.0, "ended_at": 23.0}\n'
    )
    (trial,) = [t for t in read_results(few_shot_study).trials if t.trial_id == "search-0005"]
    assert (trial.work, trial.curve) == ([(10.0, 12.0), (20.0, 23.0)], {1: 0.2})
