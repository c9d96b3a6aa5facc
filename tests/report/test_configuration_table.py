"""What was asked is told of every kind of study."""

from dataclasses import replace
from pathlib import Path

import pytest

from study.report.configuration_table import configuration_rows, stage_rows
from study.results.study_results import read_results
from tests.changed_studies import configure


def rows(folder: Path) -> dict[str, str]:
    return dict(configuration_rows(read_results(folder)))


def test_an_ablation_and_a_test_without_a_search_have_other_questions(
    few_shot_study: Path,
):
    configure(few_shot_study, "search.trials=0")
    assert rows(few_shot_study)["Question"].endswith("Nothing is searched or chosen.")
    assert "Search" not in rows(few_shot_study)
    configure(few_shot_study, "ablation={design: only_one, rates: [0.01, 0.1]}")
    told = rows(few_shot_study)
    assert told["Question"].startswith("Which parameters matter?")
    assert told["Cells"].startswith("each site alone")
    assert told["Learning rates"].startswith("0.01, 0.1: each cell at the best of them")


@pytest.mark.parametrize(
    "overlap, words",
    [(0.001, "each with its own"), (0.314, "share 31 %"), (1.0, "all with the same")],
)
def test_seeds_have_training_images_of_their_own_only_where_they_do(
    few_shot_study: Path, overlap: float, words: str
):
    results = replace(read_results(few_shot_study), training_overlap=overlap)
    told = dict(configuration_rows(results))["Test"]
    assert words in told
    assert ("own" in told) == (overlap < 0.01)


def test_of_each_stage_the_work_of_its_trials_is_told(few_shot_study: Path):
    trials = read_results(few_shot_study).stage("search")
    (search, test) = stage_rows(read_results(few_shot_study))
    assert search[0] == "Search"
    assert search[1].startswith(f"{len(trials)} trials, ")
    assert search[1].endswith(" of work")
    assert test[0] == "Test"
