"""What was asked is told of every kind of study."""

from dataclasses import replace
from pathlib import Path

from study.report.configuration_table import configuration_rows
from study.results.study_result import read_study_result
from tests.changed_studies import configure


def rows(folder: Path) -> dict[str, str]:
    return dict(configuration_rows(read_study_result(folder)))


def test_each_kind_of_study_has_the_rows_of_what_it_does(few_shot_study: Path):
    assert {"Choice", "Search"} <= rows(few_shot_study).keys()
    configure(few_shot_study, "search.trials=0")
    assert not {"Choice", "Search", "Cells"} & rows(few_shot_study).keys()
    configure(few_shot_study, "ablation={design: only_one, rates: [0.01, 0.1]}")
    assert rows(few_shot_study)["Cells"].startswith("only_one of text.mlp")


def test_seeds_name_the_training_images_that_they_share(few_shot_study: Path):
    for overlap, words in ((0.1, ""), (0.314, "share 31 %"), (1.0, "share 100 %")):
        results = replace(read_study_result(few_shot_study), training_overlap=overlap)
        test = dict(configuration_rows(results))["Test"]
        assert words in test
        assert ("share" in test) == bool(words)
