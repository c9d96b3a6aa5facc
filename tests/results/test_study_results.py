"""The results table follows the ledger, torn and unfinished files included."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from study.config.loading import build_config, dump_config
from study.errors import ConfigError, DataError
from study.results.study_results import (
    read_results,
    results_schema,
    results_table,
    write_results,
)
from study.storage.study_folder import StudyFolder


def row_of(folder: Path, trial_id: str) -> dict:
    rows = results_table(read_results(folder)).to_pylist()
    return next(row for row in rows if row["trial_id"] == trial_id)


def test_every_trial_is_one_row_of_the_fixed_schema(base_to_new_study: Path) -> None:
    table = results_table(read_results(base_to_new_study))
    assert table.schema.equals(results_schema())
    assert table.num_rows == len(list((base_to_new_study / "trials").iterdir())) == 3 + 32 + 35


def test_a_study_without_trials_has_an_empty_table_of_the_same_schema(tmp_path: Path) -> None:
    StudyFolder(tmp_path / "new").create(dump_config(build_config({}, "test")), {})
    table = results_table(read_results(tmp_path / "new"))
    assert table.schema.equals(results_schema())
    assert table.num_rows == 0


def test_scores_of_competing_names_are_no_datasets(
    base_to_new_study: Path, few_shot_study: Path
) -> None:
    balanced = ("balanced",)
    assert read_results(base_to_new_study).further_names == balanced
    for folder in (base_to_new_study, few_shot_study):
        for path in folder.glob("trials/confirm-*/reports.jsonl"):
            *lines, last = path.read_text().splitlines()
            last = json.dumps(json.loads(last) | {"test_generalized": 0.5, "test_ausuc": 0.25})
            path.write_text("".join(line + "\n" for line in (*lines, last)))
        assert read_results(folder).tested_datasets == ()
    assert read_results(base_to_new_study).further_names == (*balanced, "generalized", "ausuc")
    assert read_results(few_shot_study).further_names == balanced
    assert row_of(base_to_new_study, "confirm-best-seed1")["test_generalized"] == 0.5


def test_the_head_that_validation_chose_is_that_of_the_trial(few_shot_study: Path) -> None:
    trial = few_shot_study / "trials/search-0005"
    config = json.loads((trial / "config.json").read_text())
    config["settings"] |= {"head": "linear", "strength": 0.75}
    (trial / "config.json").write_text(json.dumps(config))
    row = row_of(few_shot_study, "search-0005")
    assert (row["head"], row["head_lr"], row["head_steps"]) == ("linear", None, None)
    for name, steps in ((0.01, 30), (0.001, 100)):
        with (trial / "reports.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": 13, "head_lr": name, "head_steps": steps}) + "\n")
    row = row_of(few_shot_study, "search-0005")
    assert (row["head_lr"], row["head_steps"], row["strength"]) == (0.001, 100, 0.75)
    other = row_of(few_shot_study, "search-0006")
    assert (other["head"], other["head_lr"], other["strength"]) == ("text", None, 1.0)


def test_a_search_trial_has_the_score_of_its_last_epoch_and_no_test_number(
    few_shot_study: Path,
) -> None:
    path = few_shot_study / "trials/search-0005/reports.jsonl"
    path.write_text(path.read_text() + '{"epoch": 13, "val_score": 0.5, "test_score": 0.9}\n')
    row = row_of(few_shot_study, "search-0005")
    assert (row["val_score"], row["test_score"]) == (0.5, None)


def test_a_trial_without_an_end_is_running(few_shot_study: Path) -> None:
    (few_shot_study / "trials/search-0005/end.json").unlink()
    row = row_of(few_shot_study, "search-0005")
    assert (row["status"], row["epochs"], row["seconds"]) == ("running", 12, None)


def test_a_number_that_is_not_finite_is_null(few_shot_study: Path) -> None:
    path = few_shot_study / "trials/search-0005/reports.jsonl"
    path.write_text(path.read_text() + '{"epoch": 13, "val_score": NaN}\n')
    assert row_of(few_shot_study, "search-0005")["val_score"] is None


def test_the_written_table_is_the_read_one_and_leaves_no_other_file(few_shot_study: Path) -> None:
    before = set(few_shot_study.iterdir())
    results = read_results(few_shot_study)
    path = write_results(results)
    assert pq.read_table(path).equals(results_table(results))
    assert set(few_shot_study.iterdir()) - before == {path}


def test_a_folder_that_is_no_study_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no trials/ folder"):
        read_results(tmp_path)


def with_targets(folder: Path) -> Path:
    """Turn a study's confirmations into those of several datasets."""
    for path in folder.glob("trials/confirm-*/reports.jsonl"):
        text = path.read_text().replace('"test_accuracy"', '"test_source"')
        last = text.rstrip().removesuffix("}")
        path.write_text(f'{last}, "test_dtd": 0.25, "test_a.b": 0.5}}\n')
    return folder


def test_every_further_dataset_has_a_column_of_confirmations(few_shot_study: Path) -> None:
    table = results_table(read_results(with_targets(few_shot_study)))
    assert table.column_names[len(results_schema()) :] == ["test_source", "test_dtd", "test_a.b"]
    rows = table.to_pylist()
    assert {row["test_dtd"] for row in rows if row["stage"] == "search"} == {None}
    assert {row["test_dtd"] for row in rows if row["stage"] == "confirm"} >= {0.25}


def test_a_study_without_its_configuration_has_no_results(few_shot_study: Path) -> None:
    (few_shot_study / "study.yaml").unlink()
    with pytest.raises(ConfigError, match=r"study\.yaml cannot be read"):
        read_results(few_shot_study)
