"""Trials are read as their files stand, and their table follows them."""

import json
import math
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.config.loading import build_config, dump_config
from study.errors import ConfigError, DataError
from study.results.study_result import read_study_result
from study.results.trial_results import trials_schema, trials_table, write_trials
from study.storage.study_folder import StudyFolder
from tests.example_studies import ExampleStudy
from tests.not_none import not_none


def table_of(folder: Path) -> pa.Table:
    result = read_study_result(folder)
    return trials_table(result.folder.name, result.trial_results)


def row_of(folder: Path, trial_id: str) -> dict:
    rows = table_of(folder).to_pylist()
    return next(row for row in rows if row["trial_id"] == trial_id)


def test_every_trial_is_one_row_of_the_fixed_schema(base_to_new_study: Path, tmp_path: Path):
    StudyFolder(tmp_path / "new").create(dump_config(build_config({}, "test")), {})
    (base_to_new_study / "trials/begun").mkdir()  # without a configuration
    for folder, trials in ((base_to_new_study, 3 + 32 + 35), (tmp_path / "new", 0)):
        table = table_of(folder)
        assert table.schema.equals(trials_schema())
        assert table.num_rows == trials


def add_report(trial: Path, **values: object):
    """Let a trial have reported a further epoch."""
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


def test_a_search_trial_has_the_score_of_its_last_epoch_and_no_test_number(
    few_shot_study: Path,
):
    trial = few_shot_study / "trials/search-0005"
    columns = itemgetter("val_score", "test_score", "status", "epochs", "seconds")
    for score, expected in ((0.5, 0.5), (math.nan, None)):
        add_report(trial, val_score=score, test_score=0.9)
        assert columns(row_of(few_shot_study, trial.name))[:2] == (expected, None)
    (trial / "end.json").unlink()
    assert columns(row_of(few_shot_study, trial.name))[2:] == ("running", 13, None)


def test_the_written_table_is_the_read_one_and_leaves_no_other_file(few_shot_study: Path):
    before = set(few_shot_study.iterdir())
    result = read_study_result(few_shot_study)
    write_trials(result.folder, result.trial_results)
    path = few_shot_study / "results.parquet"
    assert pq.read_table(path).to_pandas().equals(result.trials)
    assert set(few_shot_study.iterdir()) - before == {path}


def test_a_folder_without_trials_or_a_configuration_is_an_error(
    few_shot_study: Path, tmp_path: Path
):
    with pytest.raises(DataError, match="no trials/ folder"):
        read_study_result(tmp_path)
    (few_shot_study / "study.yaml").unlink()
    with pytest.raises(ConfigError, match=r"study\.yaml cannot be read"):
        read_study_result(few_shot_study)


def test_every_further_dataset_has_a_column_of_tests(few_shot_study: Path):
    for path in few_shot_study.glob("trials/test-*/reports.jsonl"):
        text = path.read_text().replace('"test_accuracy"', '"test_source"')
        path.write_text(text.rstrip().removesuffix("}") + ', "test_dtd": 0.25, "test_a.b": 0.5}\n')
    table = table_of(few_shot_study)
    assert table.column_names[len(trials_schema()) :] == ["test_source", "test_dtd", "test_a.b"]
    found = {(row["stage"], row["test_dtd"]) for row in table.to_pylist()}
    assert found == {("search", None), ("test", 0.25)}


def test_a_training_that_two_candidates_use_with_a_head_each_has_a_score_for_both(
    few_shot_study: Path,
):
    for path in few_shot_study.glob("trials/test-zero-shot-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        report = json.loads(last)
        report["scores"]["linear"] = {"accuracy": 0.65, "score": 0.65}
        path.write_text("".join(f"{line}\n" for line in (*lines, json.dumps(report))))
    ExampleStudy(few_shot_study).add_candidate(
        "linear", training="zero-shot", val_score=0.5, head="linear"
    )
    board = read_study_result(few_shot_study)
    linear, text = not_none(board.find_row("linear")), not_none(board.find_row("zero-shot"))
    assert (linear.labels, text.labels) == (["linear"], ["zero-shot"])
    assert (linear.test.mean, text.test.mean) == pytest.approx((0.65, 0.6))
    assert not_none(board.difference(linear, text)).mean == pytest.approx(0.05)


def test_of_an_epoch_done_again_after_a_crash_the_later_report_holds(
    few_shot_study: Path,
):
    path = few_shot_study / "trials/search-0005/reports.jsonl"
    path.write_text(
        '{"epoch": 1, "val_score": 0.1, "seconds": 2.0, "ended_at": 12.0}\n'
        '{"epoch": 1, "val_score": 0.2, "seconds": 3.0, "ended_at": 23.0}\n'
    )
    assert row_of(few_shot_study, "search-0005")["val_score"] == 0.2
