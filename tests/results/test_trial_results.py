"""Trials are read as their files stand, and their table follows them."""

import json
import math
from operator import itemgetter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from study.config.loading import build_config, dump_config
from study.config.trial_settings import TrialSettings
from study.errors import ConfigError, DataError
from study.results.study_result import read_study_result
from study.results.trial_results import RESULTS, trials_schema, trials_table, write_trials
from study.storage.study_folder import StudyFolder
from tests.example_studies import ExampleStudy
from tests.not_none import not_none


def row_of(folder: Path, trial_id: str) -> dict:
    trials = read_study_result(folder).trials
    (row,) = trials[trials["trial_id"] == trial_id].to_dict("records")
    return row


def test_every_trial_is_one_row_of_the_fixed_schema(base_to_new_study: Path, tmp_path: Path):
    StudyFolder(tmp_path / "new").create(dump_config(build_config({}, "test")), {})
    (base_to_new_study / "trials/begun").mkdir()  # without a configuration
    for folder, trials in ((base_to_new_study, 3 + 32 + 35), (tmp_path / "new", 0)):
        result = read_study_result(folder)
        table = trials_table(result.folder.name, result.trial_results)
        assert table.schema.equals(trials_schema())
        assert table.num_rows == trials
        before = set(folder.iterdir())
        write_trials(result.folder, result.trial_results)
        assert pq.read_table(folder / RESULTS).to_pandas().equals(result.trials)
        assert set(folder.iterdir()) - before == {folder / RESULTS}


def add_report(trial: Path, **values: object):
    """Let a trial have reported another epoch."""
    with (trial / "reports.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 13} | values) + "\n")


def test_the_head_that_validation_chose_is_that_of_the_trial(few_shot_study: Path):
    trial = few_shot_study / "trials/search-0005"
    study = ExampleStudy(few_shot_study)
    settings = study.folder.trial(trial.name).read_config()["settings"]
    study.change(trial.name, settings={**settings, "head": None, "alpha": 0.75})
    columns = itemgetter("head", "alpha")
    for head in ("text", "linear"):
        add_report(trial, head=head)
        assert columns(row_of(few_shot_study, trial.name)) == (head, 0.75)
    assert columns(row_of(few_shot_study, "search-0006")) == ("text", 1.0)


def test_a_search_trial_has_the_score_of_its_last_epoch_and_no_test_number(few_shot_study: Path):
    trial = few_shot_study / "trials/search-0005"
    for score in (0.5, 0.6, math.nan):
        add_report(trial, val_score=score, test_score=0.9)
        row = row_of(few_shot_study, trial.name)
        assert row["val_score"] == pytest.approx(score, nan_ok=True)
        assert math.isnan(row["test_score"])
    (trial / "end.json").unlink()
    assert itemgetter("status", "epochs")(row_of(few_shot_study, trial.name)) == ("running", 15)


def test_a_folder_without_trials_or_a_configuration_is_an_error(
    few_shot_study: Path, tmp_path: Path
):
    with pytest.raises(DataError, match="no folder trials/"):
        read_study_result(tmp_path)
    (few_shot_study / "study.yaml").unlink()
    with pytest.raises(ConfigError, match=r"study\.yaml is missing"):
        read_study_result(few_shot_study)


def test_every_further_dataset_has_a_column_of_tests(few_shot_study: Path):
    for path in few_shot_study.glob("trials/test-*"):
        add_report(path, test_source=0.75, test_dtd=0.25, test_score=0.25, **{"test_a.b": 0.5})
    trials = read_study_result(few_shot_study).trials
    assert [*trials.columns[len(trials_schema()) :]] == ["test_source", "test_dtd", "test_a.b"]
    found = trials.groupby("stage")["test_dtd"].max().to_dict()
    assert found == {"search": pytest.approx(math.nan, nan_ok=True), "test": 0.25}


def test_a_training_that_two_candidates_use_with_a_head_each_has_a_score_for_both(
    few_shot_study: Path,
):
    for path in few_shot_study.glob("trials/test-zero-shot-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        report = json.loads(last)
        report["scores"]["linear"] = {"accuracy": 0.65, "score": 0.65}
        path.write_text("".join(f"{line}\n" for line in (*lines, json.dumps(report))))
    settings = TrialSettings(subset="none", head="linear")
    fields = {"val_score": 0.5, "training": "zero-shot"}
    ExampleStudy(few_shot_study).choose_also("linear", settings, **fields)
    result = read_study_result(few_shot_study)
    linear, text = not_none(result.find_row("linear")), not_none(result.find_row("zero-shot"))
    assert (linear.labels, text.labels) == (["linear"], ["zero-shot"])
    assert (linear.test.mean, text.test.mean) == pytest.approx((0.65, 0.6))
    assert not_none(result.difference(linear, text)).mean == pytest.approx(0.05)
