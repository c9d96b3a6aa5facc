"""What was asked is told of every kind of study."""

from dataclasses import replace
from pathlib import Path

import pytest

from study.report.configuration_table import configuration_rows, stage_rows
from study.results.study_result import read_study_result
from tests.changed_studies import configure


def rows(folder: Path) -> dict[str, str]:
    return dict(configuration_rows(read_study_result(folder)))


def test_an_ablation_and_a_test_without_a_search_have_other_questions(few_shot_study: Path):
    questions = {rows(few_shot_study)["Question"]}
    assert {"Choice", "Search"} <= rows(few_shot_study).keys()
    configure(few_shot_study, "search.trials=0")
    assert not {"Choice", "Search", "Cells"} & rows(few_shot_study).keys()
    questions.add(rows(few_shot_study)["Question"])
    configure(few_shot_study, "ablation={design: only_one, rates: [0.01, 0.1]}")
    told = rows(few_shot_study)
    assert len(questions | {told["Question"]}) == 3
    assert "Cells" in told
    assert told["Learning rates"].startswith("0.01, 0.1: ")


@pytest.mark.parametrize(
    "overlap, words",
    [(0.001, "each with its own"), (0.314, "share 31 %"), (1.0, "all with the same")],
)
def test_seeds_have_training_images_of_their_own_only_where_they_do(
    few_shot_study: Path, overlap: float, words: str
):
    results = replace(read_study_result(few_shot_study), training_overlap=overlap)
    told = dict(configuration_rows(results))["Test"]
    assert words in told
    assert ("own" in told) == (overlap < 0.01)


def test_of_each_stage_the_trials_are_counted(few_shot_study: Path):
    rows = stage_rows(read_study_result(few_shot_study))
    found = [(name, text.split(",")[0]) for name, text in rows]
    assert found == [("Search", "35 trials"), ("Test", "35 trials")]
