"""The last lines of a run name the score, the comparisons, and commands that can be pasted."""

from pathlib import Path

import pytest

from study.commands.extend import extended_config
from study.config.loading import load_config
from study.report.summary import findings, next_steps
from study.results.study_result import read_study_result
from study.storage.study_folder import REGISTERED, Registration
from study.trial.study import Study
from tests.example_studies import ExampleStudy
from tests.not_none import not_none


def last_lines(folder: Path) -> tuple[list[tuple[str, str]], dict[str, str]]:
    result = read_study_result(folder)
    return findings(result), dict(next_steps(result))


def test_both_comparisons_and_the_registered_version_fit_in_few_lines(few_shot_study: Path):
    study = ExampleStudy(few_shot_study)
    study.add_final("labelled")
    hints = [("browse", "a server"), ("page", "a run"), ("trials", "a table")]
    for champion, address in ((True, "models:/letters@champion"), (False, "models:/letters/3")):
        registration = Registration("letters", "3", champion, "it is the first")
        study.folder.write_json(REGISTERED, registration)
        result = read_study_result(few_shot_study)
        steps = dict(next_steps(result, hints))
        assert len(findings(result)) + len(steps) == 12
        assert {"report", "browse", "trials", "predict"} <= steps.keys()
        assert steps["model"].split(" ")[0] == address
    found = findings(result)
    assert [word for word, _ in found].count("against") == len(result.comparisons) == 2
    for word, label in (("test", "best"), ("others %", "zero-shot")):
        assert (
            f" {100 * not_none(result.find_row(label)).test.mean:.1f} ±" in f" {dict(found)[word]}"
        )


def test_a_final_model_that_is_not_the_best_configuration_is_named(few_shot_study: Path):
    ExampleStudy(few_shot_study).choose_full()
    found, _ = last_lines(few_shot_study)
    assert "full fine-tuning" in dict(found)["best"]
    assert "vision.ln" in dict(found)["final"]


@pytest.mark.parametrize("limit", ["null", "35", "0.5"])
def test_what_is_offered_to_extend_is_what_extend_takes(few_shot_study: Path, limit: str):
    study = ExampleStudy(few_shot_study)
    study.configure(f"search.minutes={limit}")
    trial = study.folder.trial("search-0000")
    trial.append_reports({"epoch": 0, "seconds": 3000.0, "ended_at": 1e9})
    _, steps = last_lines(few_shot_study)
    *_, overrides = steps["extend"].partition(" search.")
    loaded = Study(load_config(few_shot_study / "study.yaml"), study.folder)
    extended = extended_config(loaded, [f"search.{each}" for each in overrides.split(" search.")])
    assert extended.search.trials == loaded.config.search.trials + 50


def test_predicting_needs_a_best_configuration_and_extending_a_search(
    ablation_study: Path, few_shot_study: Path
):
    found, steps = last_lines(ablation_study)
    assert ([word for word, _ in found], list(steps)) == (["found"], ["report", "tables"])
    (few_shot_study / "candidates.json").unlink()
    ExampleStudy(few_shot_study).drop("test-*")
    found, steps = last_lines(few_shot_study)
    assert [word for word, _ in found] == ["found"]
    assert "predict" not in steps
